"""Writes `manifest.json` of the weights that ship; `roadseg.weights.manifest` has its layout."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from roadseg.core.errors import ModelError, os_reason
from roadseg.core.files import write_json
from roadseg.core.labels import CLASS_NAMES
from roadseg.weights import WEIGHTS_DIR, RungScores, load_manifest
from roadseg.weights.manifest import VERSION, sha256_of


def write_manifest_entry(
    name: str,
    *,
    architecture: str,
    files: Mapping[str, tuple[str, Sequence[Path]]],
    training: Mapping[str, Any],
    validation: Mapping[str, Any],
    ladder: Sequence[RungScores] = (),
    temperature: float = 1.0,
    leave_one_drive_out: Sequence[Mapping[str, Any]] = (),
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
        leave_one_drive_out: see `write_leave_one_drive_out`; empty where that was not measured.
        directory: where the manifest and the files lie.

    Raises:
        ModelError: a file is missing or not in the folder; the manifest there is damaged.
        SinkError: the manifest cannot be written.
    """
    path = directory / "manifest.json"
    raw: dict[str, Any] = {"version": VERSION, "models": {}}
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
        **({"leave_one_drive_out": list(leave_one_drive_out)} if leave_one_drive_out else {}),
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
