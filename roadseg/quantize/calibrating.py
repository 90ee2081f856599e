"""INT8 scales for TensorRT, from a model and frames to a file: what `roadseg calibrate` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.errors import UsageError
from roadseg.core.files import claim_file
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.export.network import check_libraries
from roadseg.quantize.activations import DEFAULT_METHOD, METHODS, Method
from roadseg.quantize.inputs import load_inputs
from roadseg.quantize.search import calibrate_network
from roadseg.weights import resolve_weights
from roadseg.weights.calibration import (
    Calibration,
    calibration_path,
    check_not_shipped,
    write_calibration,
)
from roadseg.weights.gate import check_drop

if TYPE_CHECKING:
    from roadseg.core.progress import ShowProgress

__all__ = ["CalibrationFile", "calibrate_model"]


@dataclass(frozen=True)
class CalibrationFile:
    """A calibration and where it was written."""

    path: Path
    calibration: Calibration


def calibrate_model(
    data: Path,
    output: Path = Path("calibration"),
    *,
    model: str = "segnet-lite",
    frames: int | None = None,
    size_hw: SizeHW | None = None,
    method: Method = DEFAULT_METHOD,
    max_drop_points: float = 0.5,
    force: bool = False,
    threads: int | None = None,
    progress: ShowProgress | None = None,
) -> CalibrationFile:
    """Measure on real frames what a network needs to run in INT8 on TensorRT, and what that costs.

    >>> scales = roadseg.calibrate_model(Path("night.mp4"), model="runs/night/best.safetensors")
    >>> spec = EngineSpec("runs/night/best.safetensors", precision="int8", calibration=scales.path)
    >>> engine = roadseg.build_engine(spec)

    Layers that INT8 harms are left float until the cost is allowed. With labels the cost is in
    points of mIoU; without, the labels of INT8 are held against those of FP32 on the same frames.
    Each measurement is logged.

    Args:
        data: frames to measure ranges on: a folder of images or a video. A data set (see
            docs/data.md) with a `val` split tells what INT8 costs as well.
        output: a `.json` file, or a folder for `MODEL-CHECKSUM.json`, named after the weights.
        model: a shipped model's name, or a file of weights of `roadseg train`.
        frames: how many frames to use; default: see `collect_frames`.
        size_hw: height and width of the network's input; default: what the first frame gives.
        method: how scales are chosen; see `choose_scale`.
        max_drop_points: points (hundredths) of validation mIoU that INT8 may cost.
        force: write a calibration that costs more rather than refuse it.
        threads: CPU threads; default: OpenVINO's choice.
        progress: shows how far each stage is.

    Raises:
        UsageError: unknown model or method, or an argument that cannot be meant.
        ModelError: the weights are damaged, or know other classes than the data set.
        DataError, SourceError: the frames are missing or damaged.
        BackendError: PyTorch, ONNX or OpenVINO is missing, or failed.
        QualityGateError: INT8 costs too much, whatever is left float; nothing is written.
        SinkError: the file cannot be written.
    """
    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}", fix=f"use {option('--method', *METHODS)}")
    check_drop(max_drop_points)
    weights = resolve_weights(model)
    check_libraries("calibrating")
    is_file = output.suffix == ".json"
    if is_file:
        check_not_shipped(output)
        claim_file(output)
    inputs = load_inputs(model, weights, data, frames=frames, size_hw=size_hw, progress=progress)
    network = inputs.network
    path = output
    if not is_file:
        path = calibration_path(network.architecture, network.weights_sha256, output)
        claim_file(path)
    calibration = calibrate_network(
        network,
        inputs.frames,
        inputs.validation,
        # As the frames are called; the other layouts have no lists.
        validation_name="val.txt" if (data / "val.txt").is_file() else "val",
        method=method,
        max_drop_points=max_drop_points,
        force=force,
        threads=threads,
        progress=progress,
    )
    write_calibration(calibration, path)
    return CalibrationFile(path, calibration)
