"""`roadseg compare`: several networks in one table, beside the paper's figures."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import LabelledOption

_UNKNOWN_TERMINAL = (100, 24)
"""Columns and lines where the output goes to a file or a pipe."""


def compare(
    data: LabelledOption,
    table: Annotated[
        int | None,
        typer.Option(metavar="1|3|6", help="Compare the networks of this table of the paper."),
    ] = None,
    models: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="Compare these networks (as well).")
    ] = None,
    output: Annotated[
        Path, typer.Option(metavar="DIR", help="Where the table, its rows and the runs go.")
    ] = Path("compare"),
    weights: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Load DIR/NAME/best.safetensors instead of training."),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            help="A shipped recipe, or a .toml file; by default the paper's: paper-large for "
            "tables 3 and 6, else paper."
        ),
    ] = None,
    time_budget: Annotated[
        float | None, typer.Option(help="How many minutes to train each network.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Train each for a few steps only, to see that everything works."
        ),
    ] = False,
    split: Annotated[str, typer.Option(help="Which frames are scored.")] = "val",
    size: Annotated[
        str, typer.Option(metavar="HxW", help="Size of the network's input, for scores and times.")
    ] = "360x480",
    seed: Annotated[int, typer.Option(help="Random seed of weights, order and crops.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="How many CPU threads to use.")] = None,
) -> None:
    """Train or load networks, score and time them, and write one table.

    Accuracy, parameters, time and memory stand beside the paper's figures, in Markdown, CSV and
    PNG; the terminal shows the columns that say most.
    Started again, the command goes on where it was interrupted.
    """
    from roadseg.cli.progress import training_progress
    from roadseg.core.allocator import keep_freed_memory
    from roadseg.core.installing import require
    from roadseg.core.size import parse_size
    from roadseg.training.recipes import load_recipe

    size_hw = parse_size(size)
    keep_freed_memory()
    require("comparing networks", ("torch",), "train")
    from roadseg.comparison import run as library

    names = library.choose_models(table, models)
    plan = library.ComparisonPlan(
        data=data,
        recipe=load_recipe(recipe or library.usual_recipe(table)),
        split=split,
        size_hw=size_hw,
        weights=weights,
        time_budget_s=None if time_budget is None else time_budget * 60,
        quick=quick,
        seed=seed,
    )
    title = "Comparison" if table is None else f"Networks of the paper's table {table}"
    with training_progress(lines=False) as display:
        result = library.compare(
            names, plan, output, title=title, threads=threads, progress=display
        )
    typer.echo(result.for_terminal(shutil.get_terminal_size(_UNKNOWN_TERMINAL).columns))
    typer.echo(f"written to {', '.join(str(path) for path in result.files)}")
    if result.failures:
        failed = ", ".join(failure.model for failure in result.failures)
        raise result.failures[0].error(
            f"{len(result.failures)} of {len(names)} networks could not be measured ({failed})",
            fix=f"see {output}/compare.md; started again, the command tries them again",
        )
