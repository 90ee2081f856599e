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

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.files import write_json
from roadseg.core.shipped import shipped_file
from roadseg.weights import load_manifest

__all__ = [
    "DEFAULT_FOLDER",
    "Calibration",
    "FrameRecord",
    "Gate",
    "calibration_path",
    "check_not_shipped",
    "check_weights",
    "find_calibration",
    "read_calibration",
    "shipped_calibration",
    "write_calibration",
]

DEFAULT_FOLDER = Path("calibration")
"""Where `roadseg calibrate` writes and `roadseg build-engine --int8` looks first, by default."""

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
    images: int
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
    size_hw: tuple[int, int]
    method: str
    frames: tuple[FrameRecord, ...]
    scales: Mapping[str, float]
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
            f"{path} comes with roadseg: give another name with --output, or a folder; "
            "'make weights' replaces what ships"
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
        raw = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(f"no calibration at {path}: {fix}") from None
    except OSError as exc:
        raise ModelError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise ModelError(f"{path} is damaged (no JSON): {fix}") from exc
    if isinstance(raw, dict) and raw.get("version", _VERSION) != _VERSION:
        raise ModelError(f"{path} has version {raw['version']}, expected {_VERSION}: {fix}")
    try:
        return _parse(raw)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ModelError(f"{path} is damaged ({_reason(exc)}): {fix}") from exc


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration; the file appears, or is replaced, when it is complete.

    Raises:
        SinkError: it cannot be written.
    """
    gate = calibration.gate
    value = {
        "version": _VERSION,
        "model": calibration.model,
        "weights_sha256": calibration.weights_sha256,
        "size_hw": list(calibration.size_hw),
        "method": calibration.method,
        "frames": [{"name": f.name, "sha256": f.sha256} for f in calibration.frames],
        "scales": {key: calibration.scales[key] for key in sorted(calibration.scales)},
        "float_layers": list(calibration.float_layers),
        "gate": None
        if gate is None
        else {
            "measured_on": gate.measured_on,
            "images": gate.images,
            "fp32_miou": _rounded(gate.fp32_miou),
            "int8_miou": _rounded(gate.int8_miou),
            "drop_points": _rounded(gate.drop_points),
            "agreement": _rounded(gate.agreement),
            "label_miou": _rounded(gate.label_miou),
            "measured_with": gate.measured_with,
        },
    }
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
        raise ModelError(f"the calibration is of {calibration.model}, not {model}: {fix}")
    if calibration.weights_sha256 != weights_sha256:
        raise ModelError(
            f"the calibration is of other weights of {model} (sha256 "
            f"{calibration.weights_sha256[:12]}, not {weights_sha256[:12]}): {fix}"
        )


def _command(model: str) -> str:
    shown = f'"{model}"' if " " in model else model
    return f"run 'roadseg calibrate --model {shown} --data DIR|VIDEO'"


def _rounded(value: float | None) -> float | None:
    """To as many digits as anybody needs."""
    return None if value is None else float(f"{value:.{_DIGITS}g}")


def _parse(raw: Mapping[str, Any]) -> Calibration:
    known = {"version", "model", "weights_sha256", "size_hw", "method"}
    known |= {"frames", "scales", "float_layers", "gate"}
    if set(raw) != known:
        odd = sorted(set(raw) ^ known)
        raise ValueError(f"fields missing or unknown: {', '.join(odd)}")
    height, width = (_positive_int(side, "size_hw") for side in raw["size_hw"])
    scales = {_text(key, "scales"): _scale(key, value) for key, value in raw["scales"].items()}
    return Calibration(
        model=_text(raw["model"], "model"),
        weights_sha256=_text(raw["weights_sha256"], "weights_sha256"),
        size_hw=(height, width),
        method=_text(raw["method"], "method"),
        frames=tuple(
            FrameRecord(_text(f["name"], "frames"), _text(f["sha256"], "frames"))
            for f in raw["frames"]
        ),
        scales=MappingProxyType(scales),
        float_layers=tuple(_text(name, "float_layers") for name in raw["float_layers"]),
        gate=None if raw["gate"] is None else _parse_gate(raw["gate"]),
    )


def _parse_gate(raw: Mapping[str, Any]) -> Gate:
    def number(key: str) -> float | None:
        value = raw[key]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"{key} is {value!r}")
        return float(value)

    agreement = number("agreement")
    if agreement is None:
        raise ValueError("agreement is missing")
    return Gate(
        measured_on=_text(raw["measured_on"], "measured_on"),
        images=_positive_int(raw["images"], "images"),
        fp32_miou=number("fp32_miou"),
        int8_miou=number("int8_miou"),
        drop_points=number("drop_points"),
        agreement=agreement,
        measured_with=_text(raw["measured_with"], "measured_with"),
        label_miou=number("label_miou") if "label_miou" in raw else None,
    )


def _text(value: object, key: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{key} is {value!r}")
    return value


def _positive_int(value: object, key: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{key} is {value!r}")
    return value


def _scale(key: str, value: object) -> float:
    valid = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not valid or not math.isfinite(value) or value <= 0:  # type: ignore[arg-type, operator]
        raise ValueError(f"the scale of {key} is {value!r}")
    return float(value)  # type: ignore[arg-type]


def _reason(exc: Exception) -> str:
    return f"{exc} is missing" if isinstance(exc, KeyError) else str(exc)
