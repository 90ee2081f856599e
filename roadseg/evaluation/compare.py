"""`roadseg compare`: networks trained or loaded, scored and timed in one way, in one table."""

from __future__ import annotations

import copy
import dataclasses
import gc
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from roadseg.backends.torch import TorchBackend
from roadseg.data import LabelledSet, open_dataset
from roadseg.errors import ModelError, UsageError
from roadseg.evaluation.compare_cost import check_size, measure_cost
from roadseg.evaluation.compare_paper import table_models
from roadseg.evaluation.compare_rows import ROWS, Row, RowFile
from roadseg.evaluation.compare_table import csv_text, draw_chart, markdown, write_text_file
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.json_file import claim_json
from roadseg.labels import CAMVID, ClassSet
from roadseg.models import COMPARISON_NAMES, MODEL_NAMES, load_weights
from roadseg.training.loop import train
from roadseg.training.recipes import Recipe
from roadseg.training.trainer import BEST, LAST, Progress
from roadseg.weights.manifest import sha256_of

__all__ = ["QUICK_FRAMES", "QUICK_STEPS", "Comparison", "Plan", "choose_models", "compare"]

QUICK_STEPS = 4
"""Training steps of a network under `quick`, of two crops each; fewer with few frames."""

QUICK_FRAMES = 8
"""Frames that are scored under `quick`, at most."""


@dataclass(frozen=True)
class Plan:
    """How every network of a comparison is treated.

    Attributes:
        data: folder of the labelled frames; trained on its `train`, snapshots picked on `val`.
        recipe: how networks are trained.
        split: which frames are scored.
        size_hw: the network's input, for scores and for times.
        weights: a folder with `NAME/best.pt` to load instead of training.
        time_budget_s: of training, for each network.
        quick: a few steps, to show the machinery.
        seed: of initialisation, order and augmentation.
    """

    data: Path
    recipe: Recipe
    split: str = "val"
    size_hw: tuple[int, int] = (360, 480)
    weights: Path | None = None
    time_budget_s: float | None = None
    quick: bool = False
    seed: int = 0


@dataclass(frozen=True)
class Comparison:
    """A finished comparison: its rows, the table, and its files."""

    rows: tuple[Row, ...]
    table: str
    files: tuple[Path, ...]


Display = Callable[[], AbstractContextManager[Callable[[Progress], None]]]


@contextmanager
def _no_display() -> Iterator[Callable[[Progress], None]]:
    yield lambda _: None


def choose_models(table: int | None, models: str | None) -> tuple[str, ...]:
    """The networks that a table of the paper and a comma-separated list name together.

    Raises:
        UsageError: they name none, or one that does not exist.
    """
    names = list(table_models(table)) if table is not None else []
    names += [name.strip() for name in (models or "").split(",") if name.strip()]
    if not names:
        raise UsageError("nothing to compare: use --table 1|3|6, or --models a,b,c")
    known = MODEL_NAMES + COMPARISON_NAMES
    for name in names:
        if name not in known:
            raise UsageError(f"unknown model {name!r}: --models takes {', '.join(known)}")
    return tuple(dict.fromkeys(names))


def compare(
    models: Sequence[str],
    plan: Plan,
    folder: Path,
    *,
    title: str = "Comparison",
    threads: int | None = None,
    report: Callable[[str], None] = lambda _: None,
    training_display: Display = _no_display,
) -> Comparison:
    """Measure networks and write the table.

    `folder` receives `rows.json`, `compare.md`, `compare.csv` and `compare.png`, all brought up to
    date after every network, and the training runs in `runs` (`quick` under `plan.quick`). A
    network whose row was measured in the same way before is not measured again, and a run that
    was interrupted goes on from its last checkpoint.

    Args:
        models: names for `build_model`.
        plan: how they are treated.
        folder: created where it is missing.
        title: of the table.
        threads: CPU threads, of the whole process; default: PyTorch's choice.
        report: told what is done, in one line each.
        training_display: entered for each training; gives what is called after every step.

    Raises:
        UsageError: `folder` holds a run or rows that do not fit; the size is too small.
        ModelError: weights are missing, damaged or of another network; a loss is not finite.
        DataError: the data set is missing or damaged.
        BackendError: the device has too little memory.
        SinkError: `folder` cannot be written.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    claim_json(folder / ROWS)
    stored = RowFile(folder)
    scored = open_dataset(plan.data, plan.split)
    for model in models:
        check_size(model, plan.size_hw)
    if plan.weights is not None:
        for model in models:
            _weights_of(plan.weights, model, scored.classes)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    machine = _machine(device)
    rows: list[Row] = []
    result = Comparison((), "", ())
    for number, model in enumerate(models, start=1):
        place = f"{number}/{len(models)} {model}"
        configuration = _configuration(model, plan, machine, scored.classes)
        row = stored.find(model, configuration)
        if row is not None:
            report(f"{place}: measured before")
        else:
            row = _measure(model, plan, folder, scored, device, place, report, training_display)
            stored.keep(row, configuration)
        rows.append(row)
        result = _write(folder, title, rows, plan, machine, scored.classes)
    return result


def _measure(
    model: str,
    plan: Plan,
    folder: Path,
    scored: LabelledSet,
    device: torch.device,
    place: str,
    report: Callable[[str], None],
    training_display: Display,
) -> Row:
    minutes: float | None = None
    quick: list[str] = []
    if plan.weights is not None:
        weights = _weights_of(plan.weights, model, scored.classes)
        origin = f"{plan.weights.name}/{model}/{BEST}"
    else:
        report(f"{place}: training")
        with training_display() as on_step:
            weights, origin, minutes, steps = _train(model, plan, folder, on_step)
        quick.append(f"{steps} steps")
    report(f"{place}: scoring")
    frames = _first(scored, QUICK_FRAMES) if plan.quick else scored
    backend = TorchBackend(weights, plan.size_hw, device=str(device))
    try:
        scores = evaluate_backend(backend, frames, classes=scored.classes)
    finally:
        backend.close()
    quick.append(f"{scores.images} frames scored")
    report(f"{place}: timing")
    network = load_weights(weights)[0]
    warm_up, repeats = (1, 2) if plan.quick else (3, 10)
    cost = measure_cost(network, plan.size_hw, device, warm_up=warm_up, repeats=repeats)
    del network
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return Row(
        model=model,
        global_accuracy=_percent(scores.global_accuracy),
        class_accuracy=_percent(scores.class_accuracy),
        miou=_percent(scores.miou),
        bf=_percent(scores.bf_ground_truth),
        **dataclasses.asdict(cost),
        images=scores.images,
        origin=origin,
        training_minutes=minutes,
        quick=f"quick: {', '.join(quick)}, not a result" if plan.quick else "",
    )


def _train(
    model: str, plan: Plan, folder: Path, on_step: Callable[[Progress], None]
) -> tuple[Path, str, float, int]:
    recipe = plan.recipe
    frames, validation = open_dataset(plan.data, "train"), open_dataset(plan.data, "val")
    time_budget_s = plan.time_budget_s
    if plan.quick:
        time_budget_s = None
        recipe = _quick_recipe(recipe)
        frames = _first(frames, QUICK_STEPS * recipe.batch_size)
        validation = _first(validation, QUICK_FRAMES)
    run = folder / ("quick" if plan.quick else "runs") / model
    result = train(
        model,
        frames,
        validation,
        recipe,
        run,
        resume=(run / LAST).exists(),
        time_budget_s=time_budget_s,
        seed=plan.seed,
        on_step=on_step,
    )
    origin = f"recipe {recipe.name}, epoch {result.best_epoch} of {result.epochs}"
    steps = result.epochs * max(1, len(frames) // recipe.batch_size)
    return result.weights, origin, result.elapsed_s / 60, steps


def _quick_recipe(recipe: Recipe) -> Recipe:
    """The recipe for one short epoch; what makes no sense of so few steps is left out."""
    return dataclasses.replace(
        recipe,
        epochs=1,
        batch_size=2,
        extra_share=0.0,
        warmup_epochs=0,
        validate_every=1,
        statistics_batches=min(recipe.statistics_batches, 1),
    )


def _first(frames: LabelledSet, count: int) -> LabelledSet:
    part = copy.copy(frames)
    part.pairs = frames.pairs[:count]
    return part


def _weights_of(folder: Path, model: str, classes: ClassSet) -> Path:
    """`folder/model/best.pt`, once it is known to be what it should be."""
    path = folder / model / BEST
    if not path.is_file():
        raise ModelError(
            f"no weights at {path}: train them with 'roadseg train --model {model} --output "
            f"{path.parent}', or leave --weights out"
        )
    found = load_weights(path, classes)[1]["model"]
    if found != model:
        raise ModelError(f"{path} holds {found}: put weights of {model} there")
    return path


def _configuration(model: str, plan: Plan, machine: str, classes: ClassSet) -> dict[str, Any]:
    """All that a row depends on."""
    how: dict[str, Any] = {
        "data": str(plan.data.resolve()),
        "split": plan.split,
        "size_hw": plan.size_hw,
        "quick": plan.quick,
        "machine": machine,
    }
    if plan.weights is not None:
        return how | {"weights_sha256": sha256_of(_weights_of(plan.weights, model, classes))}
    return how | {
        "recipe": dataclasses.asdict(plan.recipe),
        "time_budget_s": plan.time_budget_s,
        "seed": plan.seed,
    }


def _write(
    folder: Path, title: str, rows: Sequence[Row], plan: Plan, machine: str, classes: ClassSet
) -> Comparison:
    height, width = plan.size_hw
    conditions = f"{plan.data.name} {plan.split}, {height}x{width}, {machine}"
    # The paper's figures are of CamVid's classes; beside others they would mislead.
    paper = classes.same_classes(CAMVID)
    table = markdown(title, rows, conditions, paper=paper)
    write_text_file(folder / "compare.md", table)
    write_text_file(folder / "compare.csv", csv_text(rows, paper=paper))
    chart = draw_chart(folder / "compare.png", title, rows, paper=paper)
    files = (folder / "compare.md", folder / "compare.csv", chart)
    return Comparison(tuple(rows), table, tuple(path for path in files if path is not None))


def _machine(device: torch.device) -> str:
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    count = torch.get_num_threads()
    return f"CPU, {count} {'thread' if count == 1 else 'threads'}"


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * share
