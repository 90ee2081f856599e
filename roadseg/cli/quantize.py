"""`roadseg quantize`: an INT8 network for the CPU, if it is accurate enough."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roadseg.datasets.labelled import LabelledSet

__all__ = ["quantize"]


def quantize(
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR|VIDEO",
            help="Frames to measure ranges on: a folder of images or a video of yours. Labelled "
            "frames in a layout of docs/data.md tell what INT8 costs as well.",
        ),
    ],
    output: Annotated[Path, typer.Option(help="A .xml file, or a folder for MODEL-int8.xml.")],
    model: Annotated[
        str, typer.Option(help="Name of a model, or a file of weights.")
    ] = "segnet-lite",
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many frames to measure ranges on; by default every 4th of train, 100 of "
            "others.",
        ),
    ] = None,
    frame_list: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="A file that names those frames instead, a path in --data a line."
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="Points of validation mIoU that INT8 may cost.")
    ] = 0.5,
    split: Annotated[str, typer.Option(help="Which part of the data set to judge on.")] = "val",
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="How many CPU threads to use; by default the runtime decides."),
    ] = None,
    calibration: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Quantise a network to INT8 for the CPU; refuse it when it loses too much accuracy.

    Frames without labels do, too: then INT8's own labels are compared with those of FP32.
    """
    from roadseg.core.errors import UsageError
    from roadseg.core.files import claim_file
    from roadseg.datasets.opening import has_split, open_dataset
    from roadseg.weights import WEIGHTS_DIR, resolve_weights
    from roadseg.weights.gate import check_drop

    check_drop(max_drop)
    path = output if output.suffix == ".xml" else output / f"{Path(model).stem}-int8.xml"
    if path.parent.resolve() == WEIGHTS_DIR:
        raise UsageError(
            f"{path.parent} holds what ships, under checksums",
            fix="use --output out, or 'make weights' to replace what ships",
        )
    resolve_weights(model)
    from roadseg.quantize.for_openvino import check_libraries

    check_libraries()
    claim_file(path)
    labelled = has_split(data, split)
    # A data set without the split that was asked for is a mistake, and says which it has.
    validation = open_dataset(data, split) if labelled or _is_dataset(data) else None
    from roadseg.datasets.frames import collect_frames

    collected = collect_frames(
        data,
        count=frames,
        frame_list=frame_list or calibration,  # the option's older name
    )
    for warning in collected.warnings:
        typer.echo(f"warning: {warning}", err=True)
    from roadseg.export.network import load_network

    network = load_network(model)
    if validation is not None:
        validation.check_model(model, network.classes)
    name = network.architecture

    from roadseg.export.ir import from_onnx, save_ir
    from roadseg.export.onnx import build_onnx
    from roadseg.quantize.for_openvino import (
        Quantized,
        QuantizedAlike,
        quantize_alike,
        quantize_within,
    )

    network_hw = collected.network_hw
    typer.echo(
        f"calibrating {name} on {len(collected.batches)} frames of {collected.described} at "
        f"{network_hw[0]}x{network_hw[1]}"
    )
    float_network = from_onnx(
        build_onnx(
            network.module,
            name,
            weights_sha256=network.weights_sha256,
            classes=network.classes,
        )
    )
    figures: dict[str, Any] = {
        "weights_sha256": network.weights_sha256,
        "calibration_frames": len(collected.batches),
    }
    quantized: Quantized | QuantizedAlike
    if validation is None:
        quantized = quantize_alike(
            float_network,
            collected,
            network.classes.num_classes,
            threads=threads,
            report=typer.echo,
        )
        from roadseg.weights.gate import bounds_text, cost_text

        gate = quantized.gate
        figures |= {
            "measured_on": gate.measured_on,
            "agreement": gate.agreement,
            "label_miou": gate.label_miou,
        }
        cost = f"{cost_text(gate)} ({bounds_text()})"
    else:
        labelled_frames = validation

        def miou_of(candidate: Any, precision: str) -> float:
            return _miou(candidate, precision, name, network_hw, labelled_frames, threads)

        quantized = quantize_within(
            float_network,
            collected.batches,
            miou_of,
            max_drop_points=max_drop,
            report=typer.echo,
        )
        figures |= {
            "split": split,
            "fp32_miou": quantized.fp32_miou,
            "int8_miou": quantized.int8_miou,
            "drop_points": quantized.drop_points,
        }
        cost = f"INT8 costs {quantized.drop_points:.2f} points of mIoU ({max_drop:g} allowed)"
    figures["plan"] = quantized.plan.name
    save_ir(quantized.model, path, precision="int8", figures=figures)
    typer.echo(f"{path}: {cost}")


def _is_dataset(data: Path) -> bool:
    """Whether a folder is a labelled data set, whatever parts of it are there."""
    from roadseg.datasets.opening import has_split

    return any(has_split(data, split) for split in ("train", "val", "test"))


def _miou(
    candidate: Any,
    precision: str,
    name: str,
    network_hw: tuple[int, int],
    validation: LabelledSet,
    threads: int | None,
) -> float:
    from roadseg.backends.openvino.backend import OpenVinoBackend
    from roadseg.evaluation.evaluate import evaluate_backend

    backend = OpenVinoBackend(
        candidate, network_hw, name=name, precision=precision, threads=threads
    )
    try:
        return evaluate_backend(backend, validation, classes=validation.classes).miou
    finally:
        backend.close()
