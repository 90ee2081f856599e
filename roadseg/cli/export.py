"""`roadseg export`: a network as an ONNX or OpenVINO file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from roadseg.cli.options import parse_network_size

if TYPE_CHECKING:
    from roadseg.export.network import TrainedNetwork
    from roadseg.weights.calibration import Calibration

__all__ = ["export"]

_PRECISIONS = {".onnx": ("fp32", "fp16", "int8"), ".xml": ("fp32", "fp16")}


def export(
    output: Annotated[Path, typer.Option(metavar="FILE", help="A .onnx or .xml file to write.")],
    model: Annotated[
        str, typer.Option(help="Name of a model, or a file of weights.")
    ] = "segnet-lite",
    lowering: Annotated[
        str,
        typer.Option(
            help="How unpooling is written: native (standard operations), or plugin (.onnx only: "
            "two operations of our own, for TensorRT)."
        ),
    ] = "native",
    precision: Annotated[
        str,
        typer.Option(
            help="fp32, fp16 (in .onnx for weights and features, in .xml for weights) or int8 "
            "(.onnx only; for .xml see quantize)."
        ),
    ] = "fp32",
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="The one input size; by default any multiple of 32."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(help="The one number of frames at a time; by default any.")
    ] = None,
    result: Annotated[
        str, typer.Option("--result", help="What the network gives: labels or logits.")
    ] = "labels",
    calibration: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            show_default="that of these weights",
            help="Scales that 'roadseg calibrate' wrote, for int8.",
        ),
    ] = None,
    portable: Annotated[
        bool,
        typer.Option(help="Have TensorRT compile the kernels into the engine (plugin only)."),
    ] = False,
) -> None:
    """Write a network with uint8 BGR frames in and uint8 labels out."""
    from roadseg.core.errors import SinkError, UsageError

    suffix = output.suffix
    if suffix not in _PRECISIONS:
        raise UsageError(f"cannot export to {output}", fix="use --output FILE.onnx or FILE.xml")
    if suffix == ".xml" and precision == "int8":
        raise UsageError("export writes float .xml files", fix="for INT8 use 'roadseg quantize'")
    if precision not in _PRECISIONS[suffix]:
        raise UsageError(
            f"precision {precision!r} is not for {suffix} files",
            fix=f"use --precision {'|'.join(_PRECISIONS[suffix])}",
        )
    if suffix == ".xml" and lowering == "plugin":
        raise UsageError(
            "OpenVINO has no plugin lowering", fix="use --lowering native for .xml files"
        )
    if calibration is not None and precision != "int8":
        raise UsageError(
            f"--calibration is not for {precision}", fix="use it with --precision int8"
        )
    if result not in ("labels", "logits"):
        raise UsageError(f"unknown result {result!r}", fix="use --result labels|logits")
    size_hw = parse_network_size(size)
    if not output.parent.is_dir():
        raise SinkError(f"cannot write {output}: there is no folder {output.parent}")
    from roadseg.export.network import load_network

    network = load_network(model)
    name = network.architecture
    from roadseg.export.onnx import build_onnx, save_onnx

    # An .xml file keeps FP32 arithmetic; `save_ir` stores its weights in FP16. What INT8 leaves
    # float is FP16.
    float_type: Literal["fp32", "fp16"] = (
        "fp32" if precision == "fp32" or suffix == ".xml" else "fp16"
    )
    scales = _read_scales(calibration, network, model) if precision == "int8" else None
    graph = build_onnx(
        network.module,
        name,
        size_hw=size_hw,
        batch=batch,
        lowering=lowering,
        precision=float_type,
        output="labels" if result == "labels" else "logits",
        weights_sha256=network.weights_sha256,
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
    takes = f"frames of {size_hw[0]}x{size_hw[1]}" if size_hw else "frames of any multiple of 32"
    if batch is not None:
        takes += f", {batch} at a time"
    typer.echo(f"{output}: {name}, {precision}, {lowering} lowering, {takes}")
    if scales is not None:
        typer.echo(_int8_cost(scales))


def _read_scales(path: Path | None, network: TrainedNetwork, source: str) -> Calibration:
    from roadseg.weights.calibration import check_weights, find_calibration, read_calibration

    name, digest = network.architecture, network.weights_sha256
    scales = read_calibration(path or find_calibration(name, digest), source=source)
    check_weights(scales, model=name, weights_sha256=digest, source=source)
    return scales


def _int8_cost(calibration: Calibration) -> str:
    from roadseg.weights.gate import cost_text

    gate = calibration.gate
    return "what INT8 costs was not measured" if gate is None else cost_text(gate)
