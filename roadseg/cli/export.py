"""`roadseg export`: a network as an ONNX or OpenVINO file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["export"]


def export(
    output: Annotated[Path, typer.Option(metavar="FILE", help="A .onnx or .xml file to write.")],
    model: Annotated[str, typer.Option(help="Name of a model, or a .pt file.")] = "segnet-lite",
    lowering: Annotated[
        str, typer.Option(help="How unpooling is written: native (standard operations).")
    ] = "native",
    precision: Annotated[
        str, typer.Option(help="fp32, or fp16 weights (.xml only). For INT8 see quantize.")
    ] = "fp32",
    size: Annotated[
        str | None,
        typer.Option(metavar="HxW", help="The one input size [default: any multiple of 32]."),
    ] = None,
    result: Annotated[
        str, typer.Option("--result", help="What the network gives: labels or logits.")
    ] = "labels",
) -> None:
    """Write a network with uint8 BGR frames in and uint8 labels out."""
    from roadseg.errors import SinkError, UsageError

    if output.suffix not in (".onnx", ".xml"):
        raise UsageError(f"cannot export to {output}: use --output FILE.onnx or FILE.xml")
    known = ("fp32",) if output.suffix == ".onnx" else ("fp32", "fp16")
    if precision == "int8":
        raise UsageError("export writes float networks: for INT8 use 'roadseg quantize'")
    if precision not in known:
        raise UsageError(
            f"precision {precision!r} is not for {output.suffix} files: "
            f"use --precision {'|'.join(known)}"
        )
    if result not in ("labels", "logits"):
        raise UsageError(f"unknown result {result!r}: use --result labels|logits")
    size_hw = _parse_size(size)
    if not output.parent.is_dir():
        raise SinkError(f"cannot write {output}: there is no folder {output.parent}")
    from roadseg.export.network import load_network

    network = load_network(model)
    name = network.architecture
    from roadseg.export.onnx import build_onnx, save_onnx

    graph = build_onnx(
        network.module,
        name,
        size_hw=size_hw,
        lowering=lowering,
        output="labels" if result == "labels" else "logits",
        weights_sha256=network.weights_sha256,
    )
    if output.suffix == ".onnx":
        save_onnx(graph, output)
    else:
        from roadseg.export.ir import finish_ir, from_onnx, save_ir

        ir = from_onnx(graph)
        finish_ir(ir)
        save_ir(ir, output, precision=precision)
    takes = f"{size_hw[0]}x{size_hw[1]}" if size_hw else "any multiple of 32"
    typer.echo(f"{output}: {name}, {precision}, {lowering} lowering, frames of {takes}")


def _parse_size(size: str | None) -> tuple[int, int] | None:
    from roadseg.errors import UsageError

    if size is None:
        return None
    numbers = size.lower().split("x")
    if len(numbers) == 2 and all(n.isascii() and n.isdigit() and int(n) for n in numbers):
        return int(numbers[0]), int(numbers[1])
    raise UsageError(f"size {size!r} is not HxW: use for example --size 352x480")
