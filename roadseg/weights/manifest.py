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
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from roadseg.core.errors import ModelError, os_reason
from roadseg.core.files import write_json
from roadseg.core.labels import CLASS_NAMES
from roadseg.core.records import read_record

WEIGHTS_DIR = Path(__file__).resolve().parent
"""Where the shipped files lie."""

_VERSION = 1
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
            version=_VERSION,
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


def write_manifest_entry(
    name: str,
    *,
    architecture: str,
    files: Mapping[str, tuple[str, Sequence[Path]]],
    training: Mapping[str, Any],
    validation: Mapping[str, Any],
    ladder: Sequence[RungScores] = (),
    temperature: float = 1.0,
    directory: Path = WEIGHTS_DIR,
) -> None:
    """Add a model to a folder's manifest, or replace it; checksums and sizes are measured here.

    Args:
        name: what `--model` calls it.
        architecture: the network's name in `roadseg.models`.
        files: by runtime (`openvino`, `torch`), the precision and the files, the one that the
            runtime is given first. A lone `.xml` brings the `.bin` beside it along.
        training: command, data, epochs and whatever else is known.
        validation: data and figures.
        ladder: the model at other inputs; empty where that was not measured.
        temperature: of the network's scores.
        directory: where the manifest and the files lie.

    Raises:
        ModelError: a file is missing or not in the folder; the manifest there is damaged.
        SinkError: the manifest cannot be written.
    """
    path = directory / "manifest.json"
    raw: dict[str, Any] = {"version": _VERSION, "models": {}}
    if load_manifest(directory):
        raw = json.loads(path.read_text(encoding="utf-8"))
    raw["models"][name] = {
        "architecture": architecture,
        "classes": list(CLASS_NAMES),
        "palette": "camvid",
        "files": {
            runtime: {"precision": precision, "parts": _measure(parts, directory)}
            for runtime, (precision, parts) in files.items()
        },
        "training": dict(training),
        "validation": dict(validation),
        **({"ladder": [asdict(rung) for rung in ladder]} if ladder else {}),
        "temperature": temperature,
    }
    write_json(path, raw)


def write_ladder(name: str, ladder: Sequence[RungScores], *, directory: Path = WEIGHTS_DIR) -> None:
    """Replace the ladder of a model that a folder's manifest has.

    Raises:
        ModelError: the manifest is damaged, or lacks the model.
        SinkError: the manifest cannot be written.
    """
    _replace(name, "ladder", [asdict(rung) for rung in ladder], directory)


def write_temperature(name: str, temperature: float, *, directory: Path = WEIGHTS_DIR) -> None:
    """Replace the temperature of a model that a folder's manifest has.

    Raises:
        ModelError: the manifest is damaged, or lacks the model.
        SinkError: the manifest cannot be written.
    """
    _replace(name, "temperature", temperature, directory)


def write_leave_one_drive_out(
    name: str, results: Sequence[Mapping[str, Any]], *, directory: Path = WEIGHTS_DIR
) -> None:
    """Replace what cross-validation says of a model that a folder's manifest has.

    Args:
        name: of the model.
        results: of each recipe, as `tools.leave_one_drive_out` makes them.
        directory: where the manifest is.

    Raises:
        ModelError: the manifest is damaged, or lacks the model.
        SinkError: the manifest cannot be written.
    """
    _replace(name, "leave_one_drive_out", [dict(each) for each in results], directory)


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


def _replace(name: str, key: str, value: object, directory: Path) -> None:
    if name not in load_manifest(directory):
        raise ModelError(f"no model {name!r} in {directory}", fix="write its files first")
    path = directory / "manifest.json"
    raw = json.loads(path.read_text(encoding="utf-8"))
    raw["models"][name][key] = value
    write_json(path, raw)


def _measure(parts: Sequence[Path], directory: Path) -> list[dict[str, Any]]:
    paths = list(parts)
    if len(paths) == 1 and paths[0].suffix == ".xml":
        paths.append(paths[0].with_suffix(".bin"))
    measured = []
    for path in paths:
        try:
            relative = path.resolve().relative_to(directory.resolve())
            size, digest = path.stat().st_size, sha256_of(path)
        except ValueError:
            raise ModelError(f"{path} is not in {directory}", fix="write it there first") from None
        except OSError as exc:
            raise ModelError(
                f"cannot read {path} ({os_reason(exc)})", fix="write it first"
            ) from exc
        measured.append({"path": relative.as_posix(), "sha256": digest, "bytes": size})
    return measured
