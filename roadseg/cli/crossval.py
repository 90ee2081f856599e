"""`roadseg crossval`: a recipe's worth on drives that its weights have not seen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.table import Table

    from roadseg.training.crossval import CrossValidation


def crossval(
    data: Annotated[
        Path,
        typer.Option(help="Labelled frames in a layout of docs/data.md; the drives of its train."),
    ],
    model: Annotated[str, typer.Option(help="Name of a network.")] = "segnet-lite",
    recipe: Annotated[str, typer.Option(help="A shipped recipe, or a .toml file.")] = "lite",
    output: Annotated[
        Path, typer.Option(help="Folder of the folds. Started again, it goes on.")
    ] = Path("runs/crossval"),
    extra: Annotated[
        Path | None, typer.Option(help="More training frames, such as rendered scenes.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Train once on --extra alone, and let every fold start from there."
        ),
    ] = False,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Start every fold from these weights, which must not have seen any of the drives.",
        ),
    ] = None,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(help="Start every fold's encoder from these ImageNet weights; see 'train'."),
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE|FOLDER",
            help="Learn from these weights, too, which must not have seen any of the drives; or "
            "from the folds of another cross-validation, each by the one without its drive.",
        ),
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each fold.")] = None,
    time_budget: Annotated[
        float | None, typer.Option(help="Minutes of each fold, instead of epochs.")
    ] = None,
    drives: Annotated[
        str,
        typer.Option(
            metavar="REGEX", help="What a frame's file name begins with; its group is the drive."
        ),
    ] = r"([^_]+)_",
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Random seed.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="How many CPU threads to use.")] = None,
) -> None:
    """Train without each drive in turn, and score on the one left out.

    Validation frames of a drive that is in training flatter. This tells what to expect elsewhere,
    and which recipe is the better one.
    """
    from rich.console import Console

    from roadseg.cli.lines import lines_on_stdout
    from roadseg.cli.progress import training_progress
    from roadseg.core.allocator import keep_freed_memory
    from roadseg.core.installing import require
    from roadseg.training.spec import RunSpec

    spec = RunSpec.opening(
        data,
        model=model,
        recipe=recipe,
        output=output,
        extra=extra,
        init=init,
        encoder_weights=encoder_weights,
        teacher=teacher,
        seed=seed,
        epochs=epochs,
        time_budget_s=None if time_budget is None else time_budget * 60,
        threads=threads,
    )
    keep_freed_memory()
    require("cross-validation", ("torch",), "train")
    import roadseg

    try:
        with training_progress() as display, lines_on_stdout():
            result = roadseg.cross_validate(spec, quick=quick, pattern=drives, progress=display)
    except KeyboardInterrupt:
        typer.echo("interrupted: start it again to go on", err=True)
        raise
    Console().print(_table(result))
    typer.echo(
        f"mIoU {result.mean:.4f} on average over {len(result.folds)} drives, "
        f"standard deviation {result.spread:.4f}; written to {output / 'crossval.json'}"
    )


def _table(result: CrossValidation) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("left out")
    for fold in result.folds:
        table.add_column(fold.drive, justify="right")
    table.add_column("mean", justify="right")
    table.add_row("frames", *(str(fold.scored) for fold in result.folds), "")
    table.add_row("mIoU", *(_figure(fold.miou) for fold in result.folds), _figure(result.mean))
    table.add_section()
    for name in result.folds[0].iou:
        ious = (_figure(fold.iou[name]) for fold in result.folds)
        table.add_row(name, *ious, _figure(result.class_mean(name)))
    return table


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
