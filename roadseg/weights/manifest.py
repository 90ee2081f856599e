"""`manifest.json`: what ships, how it was made, and how it scores.

    {"version": 1,
     "models": {
       "segnet-lite": {
         "architecture": "segnet-lite",
         "classes": ["sky", ...],
         "palette": "camvid",
         "files": {
           "openvino": {"precision": "int8", "parts": [
             {"path": "segnet-lite-int8.xml", "sha256": "...", "bytes": 1},
             {"path": "segnet-lite-int8.bin", "sha256": "...", "bytes": 1}]},
           "torch": {"precision": "fp32", "parts": [...]}},
         "training": {"command": "...", "data": "...", "epochs": 1, ...},
         "validation": {"data": "...", "miou": 0.5, ...},
         "ladder": [{"pixels": 168960, "cost_ms": 50.0, "miou": {"val": 0.7}}, ...]}}}

A `temperature` beside them is what the network's scores are divided by before softmax, so that
confidence is what it says; see `roadseg.evaluation.temperature`.

`leave_one_drive_out` has the results of `roadseg crossval` for the recipes behind the weights: what
such training is worth on drives that it has not seen, which validation does not tell.

`files` is by runtime. The first part is the file that the runtime is given; further parts lie
beside it. Paths are relative to the manifest. `training` and `validation` hold whatever is known;
`ladder` is the model at smaller and larger inputs: what it costs there, and how it scores; it goes
with the weights. `training.data` says what the weights learnt from, and what that is for: those
that ship learnt from CamVid, which is for research use, and from rendered scenes, which are CC0.
roadseg gives them under MIT as far as they are its own to give.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roadseg.core.errors import ModelError
from roadseg.core.records import read_record

WEIGHTS_DIR = Path(__file__).resolve().parent
"""Where the shipped files lie."""

VERSION = 1
"""Of the manifest's layout."""

_REINSTALL = "reinstall roadseg"


@dataclass(frozen=True)
class FilePart:
    """One file: where it is, its checksum in hexadecimal, its size in bytes."""

    path: Path
    sha256: str
    bytes: int


@dataclass(frozen=True)
class RuntimeFile:
    """What one runtime loads: `int8` or `fp32`, and its files, the main one first."""

    precision: str
    parts: tuple[FilePart, ...]


@dataclass(frozen=True)
class RungScores:
    """A model at inputs of one area.

    Attributes:
        pixels: of the input; its shape follows the frames, see `roadseg.core.geometry`.
        cost_ms: processor time of one frame where it was measured, at the shape for `val`. It is
            for comparing rungs with each other: other processors take other times.
        miou: by data: `val`, and `720p`, rendered scenes of 720x1280.
    """

    pixels: int
    cost_ms: float
    miou: Mapping[str, float]


@dataclass(frozen=True)
class ManifestEntry:
    """One model that ships; see this module's docstring for the fields."""

    architecture: str
    classes: tuple[str, ...]
    palette: str
    files: Mapping[str, RuntimeFile]
    training: Mapping[str, Any]
    validation: Mapping[str, Any]
    ladder: tuple[RungScores, ...] = ()
    temperature: float = 1.0
    leave_one_drive_out: tuple[Mapping[str, Any], ...] = ()
    name: str = ""


@dataclass(frozen=True)
class _Manifest:
    models: dict[str, ManifestEntry]


def load_manifest(directory: Path = WEIGHTS_DIR) -> dict[str, ManifestEntry]:
    """The models of a folder by name; none where there is no manifest.

    Raises:
        ModelError: the manifest is damaged, or of a newer roadseg.
    """
    path = directory / "manifest.json"

    try:
        manifest = read_record(
            path,
            _Manifest,
            ModelError,
            fix=_REINSTALL,
            version=VERSION,
            make=lambda _kind, relative: directory / relative,
        )
    except FileNotFoundError:
        return {}
    for name, entry in manifest.models.items():
        if not all(file.parts for file in entry.files.values()):
            raise ModelError(
                f"{path} is damaged ({name} names a runtime without files)", fix=_REINSTALL
            )
    return {name: replace(entry, name=name) for name, entry in manifest.models.items()}


def sha256_of(path: Path) -> str:
    """Checksum of a file, in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
