"""One network of a comparison: trained or loaded, scored, timed."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from roadseg.backends.torch.backend import TorchBackend
from roadseg.comparison.cost import measure_cost
from roadseg.comparison.rows import Row
from roadseg.core.errors import UsageError
from roadseg.core.weights_file import best_weights
from roadseg.core.wording import option
from roadseg.datasets.labelled import LabelledSet
from roadseg.datasets.opening import open_dataset
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.models import load_weights
from roadseg.training.folder import LAST
from roadseg.training.loop import train
from roadseg.training.progress import ShowTraining
from roadseg.training.recipes import Recipe
from roadseg.training.record import check_schedule
from roadseg.training.spec import RunSpec, check_budget

QUICK_STEPS = 4
"""Training steps of a network under `quick`, of two crops each; fewer with few frames."""

QUICK_FRAMES = 8
"""Frames that are scored under `quick`, at most."""


@dataclass(frozen=True)
class ComparisonPlan:
    """How every network of a comparison is treated.

    Attributes:
        data: folder of the labelled frames; trained on its `train`, snapshots picked on `val`.
        recipe: how networks are trained.
        split: which frames are scored.
        size_hw: the network's input, for scores and for times.
        weights: a folder with `NAME/best.safetensors` to load instead of training.
        time_budget_s: of training, for each network.
        quick: a few steps, to show the machinery.
        seed: of initialisation, order and augmentation.

    Raises:
        UsageError: there is no time to train.
    """

    data: Path
    recipe: Recipe
    split: str = "val"
    size_hw: tuple[int, int] = (360, 480)
    weights: Path | None = None
    time_budget_s: float | None = None
    quick: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        check_budget(self.time_budget_s)


def measure_network(
    model: str,
    plan: ComparisonPlan,
    folder: Path,
    scored: LabelledSet,
    device: torch.device,
    *,
    say: Callable[[str], None],
    progress: ShowTraining | None = None,
) -> Row:
    """Train or load a network, score it and time it.

    Args:
        model: a name for `build_model`.
        plan: how it is treated.
        folder: of the comparison; the run goes to its `runs` (`quick` under `plan.quick`).
        scored: the frames of `plan.split`.
        device: where it is scored and timed.
        say: gets what is done, in a word.
        progress: see `roadseg.training.loop.train`.

    Raises:
        RoadsegError: as `roadseg.comparison.run.compare`.
    """
    minutes: float | None = None
    quick: list[str] = []
    if plan.weights is not None:
        weights = best_weights(plan.weights / model)
        origin = f"{plan.weights.name}/{model}/{weights.name}"
    else:
        say("training")
        weights, origin, minutes, steps = _train(model, plan, folder, progress)
        quick.append(f"{steps} steps")
    say("scoring")
    frames = _first(scored, QUICK_FRAMES) if plan.quick else scored
    backend = TorchBackend(weights, plan.size_hw, device=str(device))
    try:
        scores = evaluate_backend(backend, frames, classes=scored.classes)
    finally:
        backend.close()
    quick.append(f"{scores.images} frames scored")
    say("timing")
    warm_up, repeats = (1, 2) if plan.quick else (3, 10)
    network = load_weights(weights)[0]
    cost = measure_cost(network, plan.size_hw, device, warm_up=warm_up, repeats=repeats)
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
    model: str, plan: ComparisonPlan, folder: Path, progress: ShowTraining | None
) -> tuple[Path, str, float, int]:
    recipe = training_recipe(plan)
    frames, validation = open_dataset(plan.data, "train"), open_dataset(plan.data, "val")
    time_budget_s = plan.time_budget_s
    if plan.quick:
        time_budget_s = None
        frames = _first(frames, QUICK_STEPS * recipe.batch_size)
        validation = _first(validation, QUICK_FRAMES)
    run = folder / ("quick" if plan.quick else "runs") / model
    resume = (run / LAST).exists()
    try:
        if resume:  # else the row would tell of another schedule than the one it is stored under
            check_schedule(run, recipe, time_budget_s)
        spec = RunSpec(
            model=model,
            data=frames,
            validation=validation,
            recipe=recipe,
            output=run,
            resume=resume,
            time_budget_s=time_budget_s,
            seed=plan.seed,
        )
        result = train(spec, progress=progress)
    except UsageError as exc:
        if not resume:
            raise
        another = f"choose another {option('--output', parameter='folder')}"
        raise UsageError(exc.what, fix=f"{exc.fix}, or {another}" if exc.fix else another) from exc
    if plan.quick:
        # Gigabytes with the large networks, and nothing is worth going on with.
        (run / LAST).unlink(missing_ok=True)
    origin = f"recipe {recipe.name}, epoch {result.best_epoch} of {result.epochs}"
    steps = result.epochs * max(1, len(frames) // recipe.batch_size)
    return result.weights, origin, result.elapsed_s / 60, steps


def training_recipe(plan: ComparisonPlan) -> Recipe:
    """The plan's recipe, which `quick` cuts down to one short epoch.

    What makes no sense of so few steps is left out.
    """
    if not plan.quick:
        return plan.recipe
    return dataclasses.replace(
        plan.recipe,
        epochs=1,
        batch_size=2,
        extra_share=0.0,
        warmup_epochs=0,
        validate_every=1,
        statistics_batches=min(plan.recipe.statistics_batches, 1),
    )


def _first(frames: LabelledSet, count: int) -> LabelledSet:
    part = copy.copy(frames)
    part.pairs = frames.pairs[:count]
    return part


def _percent(share: float) -> float | None:
    return None if math.isnan(share) else 100 * share
