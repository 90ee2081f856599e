"""`roadseg calibrate`: what `build-engine --int8` needs to know, from real frames."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import SizeOption, parse_network_size
from roadseg.cli.progress import say

__all__ = ["calibrate"]


def calibrate(
    data: Annotated[
        Path,
        typer.Option(
            metavar="DIR|VIDEO",
            help="Frames to measure ranges on: a folder of images or a video of yours. A folder in "
            "the CamVid layout (train.txt, val.txt) tells what INT8 costs as well.",
        ),
    ],
    model: Annotated[
        str, typer.Option(help="Name of a model, or a file of weights.")
    ] = "segnet-lite",
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
            help="How many frames to use; by default every 4th of train.txt, 100 of others.",
        ),
    ] = None,
    size: SizeOption = None,
    method: Annotated[
        str, typer.Option(help="How scales are chosen: absmax, percentile or mse.")
    ] = "percentile",
    max_drop: Annotated[
        float, typer.Option(help="Points of validation mIoU that INT8 may cost.")
    ] = 0.5,
    force: Annotated[
        bool, typer.Option("--force", help="Write it even if INT8 costs more than that.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="How many CPU threads to use; by default the runtime decides."),
    ] = None,
) -> None:
    """Measure on real frames what a network needs to run in INT8, and what that costs.

    Layers that INT8 harms are left float until the cost is allowed. With labels the cost is in
    points of mIoU; without, it is how far the labels of INT8 are from those of FP32.
    """
    from roadseg.core.files import claim_file

    size_hw = parse_network_size(size)
    _check_method(method)
    from roadseg.weights import resolve_weights
    from roadseg.weights.calibration import calibration_path, check_not_shipped, write_calibration
    from roadseg.weights.gate import bounds_text, check_drop, cost_text

    check_drop(max_drop)
    resolve_weights(model)
    from roadseg.export.network import check_libraries, load_network

    check_libraries()
    if output.suffix == ".json":
        check_not_shipped(output)
        claim_file(output)
    from roadseg.datasets.frames import collect_frames
    from roadseg.datasets.opening import has_split, open_dataset

    # Before the network: PyTorch takes seconds to load.
    with _progress("frames") as show:
        collected = collect_frames(
            data,
            count=frames,
            network_hw=size_hw,
            progress=lambda done, total: show("frames", done, total),
        )
    for warning in collected.warnings:
        typer.echo(f"warning: {warning}", err=True)
    network = load_network(model)
    path = output
    if output.suffix != ".json":
        path = calibration_path(network.architecture, network.weights_sha256, output)
        claim_file(path)
    validation = open_dataset(data, "val") if has_split(data, "val") else None
    if validation is not None:
        validation.check_model(model, network.classes)
    from roadseg.quantize.for_tensorrt import calibrate_network

    with _progress("calibrating") as show:
        h, w = collected.network_hw
        say(
            f"calibrating {network.architecture} on {len(collected.batches)} frames of "
            f"{collected.described} at {h}x{w}"
        )
        calibration = calibrate_network(
            network,
            collected,
            validation,
            method=method,  # type: ignore[arg-type]
            max_drop_points=max_drop,
            force=force,
            threads=threads,
            report=say,
            progress=show,
        )
    write_calibration(calibration, path)
    gate = calibration.gate
    assert gate is not None
    count = len(calibration.float_layers)
    left = f", {count} layer{'' if count == 1 else 's'} left float" if count else ""
    allowed = bounds_text() if gate.drop_points is None else f"{max_drop:g} allowed"
    typer.echo(f"{path}: {len(calibration.scales)} scales{left}; {cost_text(gate)} ({allowed})")


def _check_method(method: str) -> None:
    from roadseg.core.errors import UsageError
    from roadseg.quantize.activations import METHODS

    if method not in METHODS:
        raise UsageError(f"unknown method {method!r}", fix=f"use --method {'|'.join(METHODS)}")


@contextmanager
def _progress(stage: str) -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on stderr that starts again with each stage; nothing where it is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        # Without a terminal the bar would leave an empty line.
        yield lambda _name, _done, _total: None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Eta

    columns = (TextColumn("{task.description:<11}"), BarColumn(), MofNCompleteColumn(), Eta())
    # The lines of the report appear above the bar where both are on the terminal, and go where
    # stdout goes where it is a file.
    both = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=both) as bar:
        task = bar.add_task(stage, total=None)

        def show(name: str, done: int, total: int | None) -> None:
            nonlocal stage
            if name != stage:
                bar.reset(task, description=name, total=total)
                stage = name
            bar.update(task, completed=done, total=total)

        yield show
