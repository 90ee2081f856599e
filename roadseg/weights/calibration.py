"""A calibration's file: what INT8 needs to know of a network's activations, and what it costs.

    {"version": 1,
     "model": "segnet-lite",
     "weights_sha256": "...",
     "size_hw": [352, 480],
     "method": "percentile",
     "frames": [{"name": "train/0001TP_006690.png", "sha256": "..."}, ...],
     "scales": {"relu:0": 0.04296875, ...},
     "float_layers": [],
     "gate": {"measured_on": "val.txt", "images": 101, "fp32_miou": 0.7, "int8_miou": 0.698,
              "drop_points": 0.2, "agreement": 0.991, "label_miou": 0.94,
              "measured_with": "openvino 2026.4.0"}}

Those that come with roadseg are `calibration/MODEL.json`. What `roadseg calibrate` writes has the
beginning of the weights' checksum in its name, `calibration/segnet-lite-24d66fb5.json`: many
networks have one architecture, and none takes another's place, nor that of one that ships.

The same frames and weights give the same bytes: there is no date in it, scales are sorted and have
few digits by nature (see `roadseg.quantize.activations.choose_scale`), and the gate's figures are
rounded.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.files import write_json
from roadseg.core.records import read_record
from roadseg.core.shipped import shipped_file
from roadseg.core.wording import option
from roadseg.weights import load_manifest

DEFAULT_FOLDER = Path("calibration")
"""Where `roadseg calibrate` writes and `roadseg build-engine --int8` looks first, by default."""

Positive = Annotated[int, Meta(ge=1)]

Scale = Annotated[float, Meta(gt=0)]

_VERSION = 1
_DIGITS = 6
_NAME_DIGITS = 8


@dataclass(frozen=True)
class FrameRecord:
    """A frame that ranges were measured on.

    Attributes:
        name: path relative to the data folder, or `clip.mp4#123` for frame 123 of a video.
        sha256: checksum of the image file; of the decoded BGR pixels for a frame of a video.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Gate:
    """What INT8 costs.

    Attributes:
        measured_on: list of labelled frames (`val.txt`), or what the frames were that had no
            labels (`drive.mp4`).
        images: frames compared.
        fp32_miou: of the float network, 0..1; None where there were no labels.
        int8_miou: of the quantised one.
        drop_points: what INT8 costs, in points (hundredths) of mIoU; negative for a gain.
        agreement: share of pixels, 0..1, that get the same label from both.
        measured_with: the runtime that computed both, with its version.
        label_miou: mean IoU, 0..1, of the labels from both, over the classes that the float
            network gives to a thousandth of the pixels or more; None where it was not measured.
    """

    measured_on: str
    images: Positive
    fp32_miou: float | None
    int8_miou: float | None
    drop_points: float | None
    agreement: float
    measured_with: str
    label_miou: float | None = None


@dataclass(frozen=True)
class Calibration:
    """The scales of one network's activations.

    Attributes:
        model: the network's name.
        weights_sha256: of the weights' file that it holds for.
        size_hw: the network input that frames were resized to.
        method: how scales were chosen: `absmax`, `percentile` or `mse`.
        frames: what ranges were measured on.
        scales: by ONNX tensor name, the step of the INT8 grid: a value is round(x / scale).
        float_layers: names of the layers that INT8 harms, and which stay float.
        gate: what INT8 costs; None where that was never measured.
    """

    model: str
    weights_sha256: str
    size_hw: tuple[Positive, Positive]
    method: str
    frames: tuple[FrameRecord, ...]
    scales: Mapping[str, Scale]
    float_layers: tuple[str, ...] = ()
    gate: Gate | None = None


def calibration_path(model: str, weights_sha256: str, folder: Path = DEFAULT_FOLDER) -> Path:
    """Where the calibration of some weights is written: `calibration/segnet-lite-24d66fb5.json`.

    Args:
        model: the network's name.
        weights_sha256: of the weights' file.
        folder: where to.
    """
    return folder / f"{model}-{weights_sha256[:_NAME_DIGITS]}.json"


def shipped_calibration(model: str) -> Path:
    """Where the calibration lies that comes with roadseg, for a model that has one."""
    return shipped_file("calibration") / f"{model}.json"


def find_calibration(model: str, weights_sha256: str) -> Path:
    """The calibration to use for some weights; where it should be if there is none.

    One of your own in `calibration/` comes before the one that ships.

    Args:
        model: the network's name.
        weights_sha256: of the weights' file.
    """
    own = calibration_path(model, weights_sha256)
    # Files without a checksum in their names are those that ship, and those of older versions.
    others = (DEFAULT_FOLDER / f"{model}.json", shipped_calibration(model))
    if own.is_file():
        return own
    return next((path for path in others if _is_of(path, weights_sha256)), own)


def check_not_shipped(path: Path) -> None:
    """Refuse to write over a calibration that comes with roadseg.

    Raises:
        UsageError: it is one.
    """
    folder = shipped_file("calibration")
    if path.resolve().parent == folder.resolve() and path.stem in load_manifest():
        raise UsageError(
            f"{path} comes with roadseg",
            fix=f"give another name with {option('--output', parameter='path')}, or a folder; "
            "in a checkout 'make weights' replaces what ships",
        )


def _is_of(path: Path, weights_sha256: str) -> bool:
    try:
        return bool(json.loads(path.read_bytes())["weights_sha256"] == weights_sha256)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def read_calibration(path: Path, *, source: str | None = None) -> Calibration:
    """Read and check a calibration.

    Args:
        path: the file.
        source: what `--model` was given, for the advice; default: what the file's name says.

    Raises:
        ModelError: it is missing, damaged, or of another version of roadseg.
    """
    fix = _command(source or path.stem)
    try:
        return read_record(path, Calibration, ModelError, fix=fix, version=_VERSION)
    except FileNotFoundError:
        raise ModelError(f"no calibration at {path}", fix=fix) from None


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration; the file appears, or is replaced, when it is complete.

    Raises:
        SinkError: it cannot be written.
    """
    value = {
        "version": _VERSION,
        **dataclasses.asdict(calibration),
        "scales": dict(sorted(calibration.scales.items())),
    }
    gate = calibration.gate
    if gate is not None:
        value["gate"] = {key: _rounded(figure) for key, figure in dataclasses.asdict(gate).items()}
    write_json(path, value)


def check_weights(
    calibration: Calibration, *, model: str, weights_sha256: str, source: str | None = None
) -> None:
    """Refuse a calibration of another network.

    Args:
        calibration: what was read.
        model: the network's name.
        weights_sha256: of its weights' file.
        source: what `--model` was given, for the advice; default: the network's name.

    Raises:
        ModelError: its model or the checksum of its weights differs.
    """
    fix = _command(source or model)
    if calibration.model != model:
        raise ModelError(f"the calibration is of {calibration.model}, not {model}", fix=fix)
    if calibration.weights_sha256 != weights_sha256:
        raise ModelError(
            f"the calibration is of other weights of {model} (sha256 "
            f"{calibration.weights_sha256[:12]}, not {weights_sha256[:12]})",
            fix=fix,
        )


def _command(model: str) -> str:
    shown = f'"{model}"' if " " in model else model
    return f"run 'roadseg calibrate --model {shown} --data DIR|VIDEO'"


def _rounded(value: Any) -> Any:
    """A figure to as many digits as anybody needs."""
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
