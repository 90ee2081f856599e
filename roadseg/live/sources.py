"""What a source is, and what it is called, by what is typed for it."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from roadseg.core.errors import SourceError
from roadseg.media.redaction import redact
from roadseg.media.sources import places

_FILE_ON_THE_WEB = re.compile(r"\.(mp4|mov|avi|mkv|ts|webm|m4v|jpe?g|png|bmp|webp|gif)([?#].*)?$")


def is_live(source: str) -> bool:
    """Whether a source is a camera or stream by its looks."""
    try:
        place = places.find(source)
    except SourceError:
        return False  # whoever opens it says why
    if isinstance(place, (places.Camera, places.Csi, places.Pipeline)):
        return True
    if not isinstance(place, places.Url):
        return False
    url = place.url.lower()
    return not (url.startswith("http") and _FILE_ON_THE_WEB.search(url))


def is_device(source: str) -> bool:
    """Whether a path leads to `/dev`, where a camera may come back: one that is not plugged in has
    a path and is none."""
    try:
        path = os.path.realpath(Path(source).expanduser())
    except (OSError, RuntimeError, ValueError):
        return False
    return path.replace(os.sep, "/").startswith("/dev/")


def source_name(spec: str, taken: Sequence[str]) -> str:
    """A name for a source; a number behind it makes it its own.

    Args:
        spec: as it is typed.
        taken: names of others; capitals make no difference.

    >>> [source_name(spec, []) for spec in ("0", "rtsp://10.0.0.7/live", "a/drive.mp4")]
    ['camera-0', '10.0.0.7-live', 'drive']
    """
    if spec.isdigit():
        name = f"camera-{spec}"
    elif spec.lower().startswith("csi://"):
        name = f"csi-{spec[6:].partition('?')[0] or 0}"
    else:
        place = re.sub(r"^[a-z][a-z0-9+.-]*://(\*+@)?", "", redact(spec), flags=re.IGNORECASE)
        is_url = "://" in spec
        name = place.partition("?")[0] if is_url else Path(place).stem or place
        name = re.sub(r"[^\w.]+", "-", name).strip("-.") or "source"
    name = name[-60:]
    folded = {each.casefold() for each in taken}
    number = 1
    unique = name
    while unique.casefold() in folded:
        number += 1
        unique = f"{name}-{number}"
    return unique
