"""What is done with a clip, as a digest: the same work on the same clip has the same results."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from roadseg.archive.spec import ClipSpec
from roadseg.core.version import __version__
from roadseg.loading.choice import Choice


@dataclass(frozen=True, slots=True)
class Work:
    """What is done with a clip.

    Attributes:
        key: digest of all the others.
        model, model_sha256: the network, and the checksum of its weights, empty without weights.
        options: what was asked for, as JSON; with the backend that `auto` chose.
        version: of roadseg.
    """

    key: str
    model: str
    model_sha256: str
    options: str
    version: str


def work_of(spec: ClipSpec, choice: Choice) -> Work:
    """The work of a specification, once it is decided what runs it."""
    _file, sha256 = choice.weights() or ("", "")
    values = spec.to_json()
    values["backend"] = choice.backend
    values["ignore_mask_sha256"] = _content(spec.reading.ignore_mask)
    options = json.dumps(values, sort_keys=True, ensure_ascii=False)
    parts = [choice.model, sha256, options, __version__]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Work(key, choice.model, sha256, options, __version__)


def _content(mask: str | Path | None) -> str | None:
    """Digest of a mask that is a file: its name says nothing about what is in it."""
    if mask is None or not os.path.isfile(mask):
        return None
    return hashlib.sha256(Path(mask).read_bytes()).hexdigest()
