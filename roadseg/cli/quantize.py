"""`roadseg quantize`: an INT8 network for the CPU, if it is accurate enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roadseg.data import LabelledSet

__all__ = ["quantize"]


def quantize(
    data: Annotated[Path, typer.Option(help="Labelled frames in a layout of docs/data.md.")],
    output: Annotated[Path, typer.Option(help="A .xml file, or a folder for MODEL-int8.xml.")],
    model: Annotated[str, typer.Option(help="Name of a model, or a .pt file.")] = "segnet-lite",
    calibration: Annotated[
        Path, typer.Option(metavar="FILE", help="List of frames to measure ranges on.")
    ] = Path("calibration/frames.txt"),
    max_drop: Annotated[
        float, typer.Option(help="Points of validation mIoU that INT8 may cost.")
    ] = 0.5,
    split: Annotated[str, typer.Option(help="Which list of the data set to judge on.")] = "val",
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads; by default the runtime decides.")
    ] = None,
) -> None:
    """Quantise a network to INT8; refuse to write it when it loses too much accuracy."""
    from roadseg.data import open_dataset
    from roadseg.errors import SinkError, UsageError
    from roadseg.export.calibration import load_frames, read_frame_list
    from roadseg.export.gate import check_drop
    from roadseg.export.network import load_network
    from roadseg.weights import WEIGHTS_DIR

    check_drop(max_drop)
    path = output if output.suffix == ".xml" else output / f"{Path(model).stem}-int8.xml"
    if path.parent.resolve() == WEIGHTS_DIR:
        raise UsageError(
            f"{path.parent} holds what ships, under checksums: use --output out, "
            "or 'make weights' to replace what ships"
        )
    if not path.parent.is_dir():
        raise SinkError(f"cannot write {path}: there is no folder {path.parent}")
    validation = open_dataset(data, split)
    frames = load_frames(data, read_frame_list(calibration))
    network = load_network(model)
    validation.check_model(model, network.classes)
    name = network.architecture

    from roadseg.export.ir import from_onnx, save_ir
    from roadseg.export.onnx import build_onnx
    from roadseg.export.quantize import quantize_within

    network_hw = (int(frames[0].shape[1]), int(frames[0].shape[2]))

    def miou_of(candidate: Any, precision: str) -> float:
        return _miou(candidate, precision, name, network_hw, validation, threads)

    typer.echo(f"calibrating {name} on {len(frames)} frames of {network_hw[0]}x{network_hw[1]}")
    quantized = quantize_within(
        from_onnx(
            build_onnx(
                network.module,
                name,
                weights_sha256=network.weights_sha256,
                classes=network.classes,
            )
        ),
        frames,
        miou_of,
        max_drop_points=max_drop,
        report=typer.echo,
    )
    figures = {
        "weights_sha256": network.weights_sha256,
        "plan": quantized.plan.name,
        "calibration_frames": len(frames),
        "split": split,
        "fp32_miou": quantized.fp32_miou,
        "int8_miou": quantized.int8_miou,
        "drop_points": quantized.drop_points,
    }
    save_ir(quantized.model, path, precision="int8", figures=figures)
    typer.echo(
        f"{path}: INT8 costs {quantized.drop_points:.2f} points of mIoU ({max_drop:g} allowed)"
    )


def _miou(
    candidate: Any,
    precision: str,
    name: str,
    network_hw: tuple[int, int],
    validation: LabelledSet,
    threads: int | None,
) -> float:
    from roadseg.backends.openvino import OpenVinoBackend
    from roadseg.evaluation.evaluate import evaluate_backend

    backend = OpenVinoBackend(
        candidate, network_hw, name=name, precision=precision, threads=threads
    )
    try:
        return evaluate_backend(backend, validation, classes=validation.classes).miou
    finally:
        backend.close()
