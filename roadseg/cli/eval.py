"""`roadseg eval`: how accurate a model is on labelled frames."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roadseg.cli.options import BackendOption, ModelOption, SizeOption, ThreadsOption, is_typed
from roadseg.cli.progress_bar import progress_bar
from roadseg.core.size import parse_size

if TYPE_CHECKING:
    from rich.table import Table

    from roadseg.evaluation.evaluate import Scores
    from roadseg.evaluation.flicker import Flicker
    from roadseg.evaluation.robustness import Robustness


def eval_(
    context: typer.Context,
    data: Annotated[
        Path,
        typer.Option(
            help="Labelled frames in a layout of docs/data.md (CamVid's, SUN RGB-D's or your "
            "own), or, with --labels, a video."
        ),
    ],
    split: Annotated[str, typer.Option(help="Which part of the data set to score.")] = "val",
    labels: Annotated[
        Path | None,
        typer.Option(
            help="Labels of the frames of the video that --data names: a folder of PNGs or an "
            ".npz file."
        ),
    ] = None,
    model: ModelOption = "segnet-lite",
    backend: BackendOption = "auto",
    size: SizeOption = None,
    threads: ThreadsOption = None,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the scores here as well.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write an HTML page there: confusion, worst frames, borders, reliability.",
        ),
    ] = None,
    corruptions: Annotated[
        bool,
        typer.Option(
            "--corruptions", help="Score the frames with noise, blur, weather and compression, too."
        ),
    ] = False,
    kind: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A kind of corruption, as often as wanted; else all 15."),
    ] = None,
    severity: Annotated[
        list[int] | None,
        typer.Option(metavar="1..5", help="How strong, as often as wanted; else 1, 3 and 5."),
    ] = None,
) -> None:
    """Score a model on labelled frames.

    Accuracies, mIoU and boundary F1 are taken at the labels' own resolution, without void. A video
    gets a flicker score, too: how often labels change where the true class does not.
    """
    from rich.console import Console

    from roadseg.core.errors import UsageError
    from roadseg.core.files import claim_file, write_json
    from roadseg.evaluation.robustness import Corruptions
    from roadseg.run.evaluating import evaluate_model

    if labels is not None and is_typed(context, "split"):
        raise UsageError(
            "--split is a part of a data set, and with --labels a video is scored",
            fix="leave one of them out",
        )
    size_hw = None if size is None else parse_size(size)
    chosen = None
    if corruptions or kind or severity:
        chosen = Corruptions(tuple(kind or ()), tuple(severity or ()))
    if json_path is not None:
        claim_file(json_path)
    with progress_bar() as progress:
        result = evaluate_model(
            data,
            split=split,
            labels=labels,
            model=model,
            backend=backend,
            size_hw=size_hw,
            threads=threads,
            report=report,
            corruptions=chosen,
            progress=progress,
        )
    height, width = result.network_hw
    info = result.info
    typer.echo(f"{result.model} {info.precision} on {info.name}, input {height}x{width}")
    console = Console()
    console.print(_class_table(result.scores))
    console.print(_summary(result.scores, result.flicker))
    if result.robustness is not None:
        console.print(_robustness_table(result.robustness))
    if json_path is not None:
        write_json(json_path, result.to_json())
    if result.page is not None:
        typer.echo(f"written to {result.page}")


def _class_table(scores: Scores) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("class")
    columns = {
        "IoU": scores.per_class_iou,
        "accuracy": scores.per_class_accuracy,
        "boundary F1": scores.per_class_bf,
    }
    for heading in columns:
        table.add_column(heading, justify="right")
    for name, *figures in zip(scores.class_names, *columns.values(), strict=True):
        table.add_row(name, *(_figure(value) for value in figures))
    return table


def _summary(scores: Scores, flicker: Flicker | None) -> Table:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("images", str(scores.images))
    table.add_row("global accuracy", _figure(scores.global_accuracy))
    table.add_row("class accuracy", _figure(scores.class_accuracy))
    table.add_row("mIoU", _figure(scores.miou))
    table.add_row("boundary F1, classes of the ground truth", _figure(scores.bf_ground_truth))
    table.add_row("boundary F1, predicted classes too", _figure(scores.bf_union))
    if flicker is not None:
        table.add_row("flicker, share of steady pixels", _figure(flicker.score))
    return table


def _robustness_table(robustness: Robustness) -> Table:
    from rich.table import Table

    table = Table(caption="share of the clean mIoU that is kept")
    table.add_column("corruption")
    for severity in robustness.severities:
        table.add_column(f"severity {severity}", justify="right")
    table.add_column("kept", justify="right")
    for kind in robustness.kinds:
        left = [robustness.kept_at(kind, severity) for severity in robustness.severities]
        table.add_row(kind, *map(_figure, left), _figure(robustness.kept(kind)))
    table.add_section()
    blanks = [""] * len(robustness.severities)
    table.add_row("on average", *blanks, _figure(robustness.mean_kept))
    table.add_row(f"worst: {robustness.worst}", *blanks, _figure(robustness.kept(robustness.worst)))
    if robustness.mean_calibration_error is not None:
        table.add_row("calibration error", *blanks, _figure(robustness.mean_calibration_error))
    return table


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
