"""A network as an ONNX or OpenVINO file: what `roadseg export` does."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roadseg.core.errors import SinkError, UsageError
from roadseg.core.size import SizeHW, check_network_size
from roadseg.core.wording import option
from roadseg.export.network import load_network
from roadseg.weights.calibration import (
    Calibration,
    check_weights,
    find_calibration,
    read_calibration,
)

_PRECISIONS = {".onnx": ("fp32", "fp16", "int8"), ".xml": ("fp32", "fp16")}


@dataclass(frozen=True)
class ExportedFile:
    """A network that was written.

    Attributes:
        path: the file.
        architecture: the network's name in `roadseg.models`.
        calibration: what its INT8 scales come from; None unless it is INT8.
    """

    path: Path
    architecture: str
    calibration: Calibration | None


def export_network(
    output: Path,
    *,
    model: str = "segnet-lite",
    lowering: str = "native",
    precision: str = "fp32",
    size_hw: SizeHW | None = None,
    batch: int | None = None,
    result: str = "labels",
    calibration: Path | None = None,
    portable: bool = False,
) -> ExportedFile:
    """Write a network with uint8 BGR frames in and uint8 labels out.

    >>> roadseg.export_network(
    ...     Path("night.onnx"), model="runs/night/best.safetensors", precision="fp16"
    ... )

    Args:
        output: a `.onnx` or `.xml` file.
        model: a shipped model's name, or a file of weights of `roadseg train`.
        lowering: how unpooling is written: `native` (standard operations), or `plugin` (`.onnx`
            only: two operations of our own, for TensorRT).
        precision: `fp32`, `fp16` (in `.onnx` for weights and features, in `.xml` for weights) or
            `int8` (`.onnx` only; for `.xml` see `quantize_model`).
        size_hw: the one input size; default: any multiple of 32.
        batch: the one number of frames at a time; default: any.
        result: what the network gives: `labels` or `logits`.
        calibration: scales of `calibrate_model`, for INT8; default: those of these weights.
        portable: have TensorRT compile the kernels into the engine (`plugin` only).

    Raises:
        UsageError: unknown model, or arguments that contradict each other.
        ModelError: the weights or the calibration are missing, damaged, or of another network.
        BackendError: PyTorch, ONNX or OpenVINO is missing.
        SinkError: the file cannot be written.
    """
    suffix = output.suffix
    if suffix not in _PRECISIONS:
        raise UsageError(
            f"cannot export to {output}", fix=f"use {option('--output', 'FILE.onnx')} or FILE.xml"
        )
    if suffix == ".xml" and precision == "int8":
        raise UsageError("export writes float .xml files", fix="for INT8 use 'roadseg quantize'")
    if precision not in _PRECISIONS[suffix]:
        raise UsageError(
            f"precision {precision!r} is not for {suffix} files",
            fix=f"use {option('--precision', *_PRECISIONS[suffix])}",
        )
    if suffix == ".xml" and lowering == "plugin":
        raise UsageError(
            "OpenVINO has no plugin lowering",
            fix=f"use {option('--lowering', 'native')} for .xml files",
        )
    if calibration is not None and precision != "int8":
        raise UsageError(
            f"{option('--calibration')} is not for {precision}",
            fix=f"use it with {option('--precision', 'int8')}",
        )
    if result not in ("labels", "logits"):
        raise UsageError(
            f"unknown result {result!r}", fix=f"use {option('--result', 'labels', 'logits')}"
        )
    if size_hw is not None:
        check_network_size(size_hw)
    if not output.parent.is_dir():
        raise SinkError(
            f"cannot write {output}: there is no folder {output.parent}", fix="create it"
        )
    network = load_network(model)
    name, digest = network.architecture, network.weights_sha256
    from roadseg.export.onnx import build_onnx, save_onnx

    # An .xml file keeps FP32 arithmetic; `save_ir` stores its weights in FP16. What INT8 leaves
    # float is FP16.
    float_type: Literal["fp32", "fp16"] = (
        "fp32" if precision == "fp32" or suffix == ".xml" else "fp16"
    )
    scales = None
    if precision == "int8":
        scales = read_calibration(calibration or find_calibration(name, digest), source=model)
        check_weights(scales, model=name, weights_sha256=digest, source=model)
    graph = build_onnx(
        network.module,
        name,
        size_hw=size_hw,
        batch=batch,
        lowering=lowering,
        precision=float_type,
        output="labels" if result == "labels" else "logits",
        weights_sha256=digest,
        portable=portable,
        classes=network.classes,
    )
    if scales is not None:
        from roadseg.export.qdq import insert_qdq

        graph = insert_qdq(graph, scales)
    if suffix == ".onnx":
        save_onnx(graph, output)
    else:
        from roadseg.export.ir import finish_ir, from_onnx, save_ir

        ir = from_onnx(graph)
        finish_ir(ir)
        save_ir(ir, output, precision=precision)
    return ExportedFile(output, name, scales)
