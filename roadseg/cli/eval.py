"""`roadseg eval`: how accurate a model is on labelled frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roadseg.cli.options import BackendOption, ModelOption, SizeOption, ThreadsOption, tell

__all__ = ["eval_"]

if TYPE_CHECKING:
    from rich.table import Table

    from roadseg.core.backend import Backend
    from roadseg.core.labels import ClassSet
    from roadseg.datasets.clip import LabelledClip
    from roadseg.datasets.labelled import LabelledSet
    from roadseg.evaluation.evaluate import FrameResult, LabelledFrames, Scores
    from roadseg.evaluation.flicker import Flicker


def eval_(
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
) -> None:
    """Score a model on labelled frames.

    Accuracies, mIoU and boundary F1 are taken at the labels' own resolution, without void. A video
    gets a flicker score, too: how often labels change where the true class does not.
    """
    from rich.console import Console

    from roadseg.cli.engine_display import engine_progress
    from roadseg.core.errors import UsageError
    from roadseg.core.files import claim_file, write_json
    from roadseg.evaluation.flicker import Flicker
    from roadseg.evaluation.provenance import weights_file
    from roadseg.evaluation.report.report import PAGE, Report
    from roadseg.loading.scores import create_scoring_backend
    from roadseg.loading.select import choose_backend, create_backend

    if threads is not None and threads < 1:
        raise UsageError(f"cannot use {threads} threads", fix="use --threads 1 or more")
    for path in (json_path, None if report is None else report / PAGE):
        if path is not None:
            claim_file(path)
    frames = _open(data, split, labels, model, backend)
    network_hw = _network_hw(frames, size, model, backend)
    classes = frames.classes
    flicker = None if labels is None else Flicker(classes.num_classes)
    page = None
    if report is not None:
        page = Report(len(frames), _names(frames), flicker, classes)
    # Scores cost the memory traffic that labels in the graph save: only the page needs them.
    create = create_backend if page is None else create_scoring_backend
    with engine_progress() as building:
        running = create(
            model, backend, network_hw, threads=threads, report=tell, progress=building
        )
    try:
        scores = _score(running, frames, classes, [o for o in (flicker, page) if o is not None])
        info = running.info
    finally:
        running.close()
    weights = None
    if json_path is not None or page is not None:
        weights = weights_file(model, choose_backend(model, backend))
    # All runs of `roadseg train` are called best.safetensors: a file goes by its path.
    scored = model if Path(model).is_file() else info.model
    size_text = f"{network_hw[0]}x{network_hw[1]}"
    typer.echo(f"{scored} {info.precision} on {info.name}, input {size_text}")
    console = Console()
    console.print(_class_table(scores))
    console.print(_summary(scores, flicker))
    if json_path is not None:
        document = {
            **scores.to_json(),
            "backend": info.name,
            "model": scored,
            "precision": info.precision,
            "device": info.device,
            "size_hw": list(network_hw),
            "data": str(data),
            "split": split if labels is None else None,
        }
        if weights is not None:
            document["weights"], document["weights_sha256"] = weights
        if flicker is not None:
            document["flicker"] = flicker.score if flicker.steady else None
        if page is not None and page.calibration_error is not None:
            document["calibration_error"] = page.calibration_error
        write_json(json_path, document)
    if page is not None and report is not None:
        where = f"{data.name}, {split}" if labels is None else data.name
        frame_count = f"{scores.images} {'frame' if scores.images == 1 else 'frames'}"
        facts = [where, frame_count, f"input {size_text}", f"{info.name}, {info.device}"]
        origin = {"data": _data_in_words(data, split, labels, classes)}
        if weights is not None:
            origin = {"weights": f"{weights[0]}, SHA-256 {weights[1]}", **origin}
        path = page.write(report, f"{scored} {info.precision}", facts, scores, origin)
        typer.echo(f"written to {path}")


def _open(
    data: Path, split: str, labels: Path | None, model: str, backend: str
) -> LabelledSet | LabelledClip:
    from roadseg.core.errors import DataError
    from roadseg.datasets.clip import LabelledClip
    from roadseg.datasets.opening import open_dataset
    from roadseg.loading.select import model_classes

    if labels is not None:
        return LabelledClip(data, labels, model_classes(model, backend))
    if data.is_file():
        raise DataError(f"{data} is a file", fix="give the labels of its frames with --labels")
    frames = open_dataset(data, split)
    frames.check_model(model, model_classes(model, backend))
    return frames


def _data_in_words(data: Path, split: str, labels: Path | None, classes: ClassSet) -> str:
    part = f"split {split}" if labels is None else f"labels in {labels.resolve()}"
    return f"{data.resolve()}, {part}; {classes.brief}"


def _names(frames: LabelledFrames) -> list[str] | None:
    from roadseg.datasets.labelled import LabelledSet

    return [image.name for image, _ in frames.pairs] if isinstance(frames, LabelledSet) else None


def _network_hw(
    frames: LabelledFrames, size: str | None, model: str, backend: str
) -> tuple[int, int]:
    from roadseg.core.backend import SIDE_MULTIPLE
    from roadseg.core.errors import DataError
    from roadseg.core.geometry import network_size
    from roadseg.loading.segmenter import check_size
    from roadseg.loading.select import fixed_size, input_multiple
    from roadseg.pipeline import parse_size

    multiple = input_multiple(model, backend)
    if size is None:
        fixed_hw = fixed_size(model)
        if fixed_hw is not None:
            return fixed_hw
        first = next(iter(frames), None)
        if first is None:
            raise DataError("nothing to evaluate: the data set has no frames")
        height, width = first[0].shape[:2]
        return network_size((height, width), multiple=SIDE_MULTIPLE)
    height, width = parse_size(size)
    check_size((height, width), multiple)
    return height, width


def _score(
    backend: Backend,
    frames: LabelledFrames,
    classes: ClassSet,
    observers: Sequence[Callable[[FrameResult], None]],
) -> Scores:
    from rich.console import Console
    from rich.progress import Progress

    from roadseg.evaluation.evaluate import evaluate_backend

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("evaluating", total=len(frames))
        return evaluate_backend(
            backend,
            frames,
            progress=lambda done: progress.update(task, completed=done),
            observers=observers,
            classes=classes,
        )


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


def _figure(value: float) -> str:
    return "-" if value != value else f"{value:.4f}"
