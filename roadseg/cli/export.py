"""`roadseg export`: a network as an ONNX or OpenVINO file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import WeightsOption, parse_network_size


def export(
    output: Annotated[Path, typer.Option(metavar="FILE", help="A .onnx or .xml file to write.")],
    model: WeightsOption = "segnet-lite",
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
    from roadseg.export.exporting import export_network

    size_hw = parse_network_size(size)
    written = export_network(
        output,
        model=model,
        lowering=lowering,
        precision=precision,
        size_hw=size_hw,
        batch=batch,
        result=result,
        calibration=calibration,
        portable=portable,
    )
    takes = f"frames of {size_hw[0]}x{size_hw[1]}" if size_hw else "frames of any multiple of 32"
    if batch is not None:
        takes += f", {batch} at a time"
    typer.echo(f"{output}: {written.architecture}, {precision}, {lowering} lowering, {takes}")
    if written.calibration is not None:
        from roadseg.weights.gate import cost_text

        gate = written.calibration.gate
        typer.echo("what INT8 costs was not measured" if gate is None else cost_text(gate))
