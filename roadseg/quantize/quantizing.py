"""An INT8 network for the CPU, from a model and frames to a file: what `roadseg quantize` does."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from roadseg.core.errors import UsageError
from roadseg.core.files import claim_file
from roadseg.core.progress import ShowProgress
from roadseg.core.wording import option
from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.network import TrainedNetwork, check_libraries
from roadseg.export.onnx import build_onnx
from roadseg.export.qdq import insert_qdq
from roadseg.quantize.inputs import load_inputs
from roadseg.quantize.search import calibrate_network
from roadseg.weights import WEIGHTS_DIR, resolve_weights
from roadseg.weights.calibration import Calibration
from roadseg.weights.gate import check_drop


@dataclass(frozen=True)
class QuantizedFile:
    """An INT8 network on disk.

    Attributes:
        path: the `.xml` file; its `.bin` and `.xml.json` lie beside it.
        calibration: its scales, which layers are float, and what INT8 costs.
    """

    path: Path
    calibration: Calibration


def quantize_model(
    data: Path,
    output: Path,
    *,
    model: str = "segnet-lite",
    frames: int | None = None,
    frame_list: Path | None = None,
    max_drop_points: float = 0.5,
    split: str = "val",
    force: bool = False,
    threads: int | None = None,
    progress: ShowProgress | None = None,
) -> QuantizedFile:
    """Quantise a network to INT8 for the CPU; refuse it when it loses too much accuracy.

    >>> file = roadseg.quantize_model(
    ...     Path("CamVid"), Path("out"), model="runs/night/best.safetensors"
    ... )
    >>> segmenter = roadseg.Segmenter(file.path)

    Layers that INT8 harms are left float until the cost is allowed. With labels the cost is in
    points of mIoU; without, the labels of INT8 are held against those of FP32 on the same frames.
    It is measured as on processors with and without VNNI. Each measurement is logged.

    Args:
        data: frames to measure ranges on: a folder of images or a video. A data set (see
            docs/data.md) tells what INT8 costs as well.
        output: a `.xml` file, or a folder for `MODEL-int8.xml`.
        model: a shipped model's name, or a file of weights of `roadseg train`.
        frames: how many frames to measure ranges on; default: see `collect_frames`.
        frame_list: a file that names those frames instead.
        max_drop_points: points (hundredths) of validation mIoU that INT8 may cost.
        split: which part of the data set to judge on.
        force: write a network that costs more rather than refuse it.
        threads: CPU threads; default: OpenVINO's choice.
        progress: shows how far each stage is.

    Raises:
        UsageError: unknown model, or an argument that cannot be meant.
        ModelError: the weights are damaged, or know other classes than the data set.
        DataError, SourceError: the frames are missing or damaged.
        BackendError: PyTorch, ONNX or OpenVINO is missing, or failed.
        QualityGateError: INT8 costs too much, whatever is left float; nothing is written.
        SinkError: the file cannot be written.
    """
    check_drop(max_drop_points)
    path = output if output.suffix == ".xml" else output / f"{Path(model).stem}-int8.xml"
    if path.parent.resolve() == WEIGHTS_DIR:
        raise UsageError(
            f"{path.parent} holds what ships, under checksums",
            fix=f"use {option('--output', 'out')}; in a checkout 'make weights' replaces it",
        )
    weights = resolve_weights(model)
    check_libraries("quantising")
    claim_file(path)
    inputs = load_inputs(
        model,
        weights,
        data,
        frames=frames,
        frame_list=frame_list,
        split=split,
        progress=progress,
    )
    calibration = calibrate_network(
        inputs.network,
        inputs.frames,
        inputs.validation,
        unsigned=True,
        validation_name=split,
        max_drop_points=max_drop_points,
        force=force,
        threads=threads,
        progress=progress,
    )
    assert calibration.gate is not None
    figures = {
        "weights_sha256": calibration.weights_sha256,
        "calibration_frames": len(calibration.frames),
        "float_layers": calibration.float_layers,
        **asdict(calibration.gate),
    }
    network = int8_network(inputs.network, calibration)
    save_ir(network, path, precision="int8", figures=figures)
    return QuantizedFile(path, calibration)


def int8_network(network: TrainedNetwork, calibration: Calibration) -> Any:
    """An INT8 `openvino.Model` for frames of any size.

    Args:
        network: what to quantise.
        calibration: of it, as `calibrate_network` returns it for OpenVINO.

    Raises:
        ModelError: the calibration is of another network, or lacks a scale.
    """
    graph = build_onnx(
        network.module,
        network.architecture,
        weights_sha256=network.weights_sha256,
        classes=network.classes,
    )
    model = from_onnx(insert_qdq(graph, calibration, unsigned=True))
    finish_ir(model)
    return model
