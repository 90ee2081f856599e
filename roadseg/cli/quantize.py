"""`roadseg quantize`: an INT8 network for the CPU, if it is accurate enough."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.lines import lines_on_stdout
from roadseg.cli.options import MaxDropOption, RuntimeThreadsOption, WeightsOption
from roadseg.cli.progress_bar import progress_bar


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
    model: WeightsOption = "segnet-lite",
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
            metavar="FILE",
            help="A file that names those frames instead: on each line a path below --data.",
        ),
    ] = None,
    max_drop: MaxDropOption = 0.5,
    split: Annotated[str, typer.Option(help="Which part of the data set to judge on.")] = "val",
    force: Annotated[
        bool, typer.Option("--force", help="Write it even if INT8 costs more than that.")
    ] = False,
    threads: RuntimeThreadsOption = None,
    calibration: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Quantise a network to INT8 for the CPU; refuse it when it loses too much accuracy.

    Layers that INT8 harms are left float until the cost is allowed. Frames without labels do, too:
    then INT8's own labels are compared with those of FP32.
    """
    from roadseg.quantize.quantizing import quantize_model
    from roadseg.weights.gate import result_text

    with lines_on_stdout(), progress_bar() as progress:
        written = quantize_model(
            data,
            output,
            model=model,
            frames=frames,
            frame_list=frame_list or calibration,  # the option's older name
            max_drop_points=max_drop,
            split=split,
            force=force,
            threads=threads,
            progress=progress,
        )
    typer.echo(f"{written.path}: {result_text(written.calibration, max_drop)}")
