"""`roadseg calibrate`: what `build-engine --int8` needs to know, from real frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.lines import lines_on_stdout
from roadseg.cli.options import (
    MaxDropOption,
    RuntimeThreadsOption,
    SizeOption,
    WeightsOption,
    parse_network_size,
)
from roadseg.cli.progress_bar import progress_bar


def calibrate(
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR|VIDEO",
            help="Frames to measure ranges on: a folder of images or a video of yours. Labelled "
            "frames in a layout of docs/data.md tell what INT8 costs as well.",
        ),
    ],
    model: WeightsOption = "segnet-lite",
    output: Annotated[
        Path,
        typer.Option(
            help="A .json file, or a folder for MODEL-CHECKSUM.json, named after the weights."
        ),
    ] = Path("calibration"),
    frames: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="How many frames to use; by default every 4th of train, 100 of others.",
        ),
    ] = None,
    size: SizeOption = None,
    method: Annotated[
        str, typer.Option(help="How scales are chosen: absmax, percentile or mse.")
    ] = "percentile",
    max_drop: MaxDropOption = 0.5,
    force: Annotated[
        bool, typer.Option("--force", help="Write it even if INT8 costs more than that.")
    ] = False,
    threads: RuntimeThreadsOption = None,
) -> None:
    """Measure on real frames what a network needs to run in INT8, and what that costs.

    Layers that INT8 harms are left float until the cost is allowed. With labels the cost is in
    points of mIoU; without, it is how far the labels of INT8 are from those of FP32.
    """
    from roadseg.quantize.calibrating import calibrate_model
    from roadseg.weights.gate import result_text

    with lines_on_stdout(), progress_bar() as progress:
        written = calibrate_model(
            data,
            output,
            model=model,
            frames=frames,
            size_hw=parse_network_size(size),
            method=method,  # type: ignore[arg-type]
            max_drop_points=max_drop,
            force=force,
            threads=threads,
            progress=progress,
        )
    typer.echo(f"{written.path}: {result_text(written.calibration, max_drop)}")
