"""A run that diverges: what is wrong, and the way back to its best checkpoint."""

from __future__ import annotations

import math
from typing import NoReturn

from roadseg.core.errors import ModelError
from roadseg.core.wording import option
from roadseg.training.checkpoint import CheckpointWriter, fit_explained, load_checkpoint
from roadseg.training.distributed import World
from roadseg.training.folder import BEST, KEPT, LAST
from roadseg.training.guard import Guard
from roadseg.training.learner import Learner
from roadseg.training.schedule import Course
from roadseg.training.spec import RunSpec
from roadseg.training.validation import BestWeights


class Divergence:
    """Looks for divergence after each epoch; all processes come to the same conclusions.

    Args:
        spec: of the run.
        learner: goes back to the weights of a checkpoint.
        guard: notices a loss that rises, and counts how often the run went back.
        best: whether there are weights to advise.
        checkpoints: what is being written.
        place: this process among those that train together.
    """

    def __init__(
        self,
        spec: RunSpec,
        learner: Learner,
        guard: Guard,
        best: BestWeights,
        checkpoints: CheckpointWriter,
        place: World,
    ) -> None:
        self._spec, self._learner, self._guard = spec, learner, guard
        self._best, self._checkpoints, self._world = best, checkpoints, place

    def trouble(self, number: int, losses: list[float], mean: float, course: Course) -> str | None:
        """What is wrong after an epoch, in words; None while nothing is.

        Args:
            number: of the epoch, from 1.
            losses: of its batches, in this process.
            mean: of the losses of all processes.
            course: how far the run is.
        """
        if not math.isfinite(mean):
            # Among several processes it may be another one's.
            at = next((i for i, v in enumerate(losses) if not math.isfinite(v)), len(losses) - 1)
            value, count = losses[at], course.steps_per_epoch
            return f"the loss is {value} in batch {at + 1} of {count} of epoch {number}"
        if self._world.mean(float(self._learner.is_finite())) < 1:
            return f"the weights are not finite at the end of epoch {number}"
        if course.finished:  # there is no time left to do better, and the best weights are kept
            return None
        risen = self._guard.watch(number, mean)
        return None if risen is None else f"{risen} by epoch {number}"

    def go_back(self, trouble: str) -> str:
        """Take up the best checkpoint again, to go on from it at half the rate; says so.

        Raises:
            ModelError: there is none, or the run went back too often.
        """
        # What the leading process has kept is on the disk before any reads it.
        self._checkpoints.finish()
        self._world.agree(0.0)
        if not self._guard.can_go_back:
            self._give_up(trouble)
        path = self._spec.output / KEPT
        state = load_checkpoint(path, self._spec.model, self._spec.classes)
        rate = self._learner.rate
        with fit_explained(path, self._spec.model):
            self._learner.restore(state)
        self._guard.go_back(state["epoch"])
        self._learner.set_rate(rate / 2)  # what a resumption compares its own rate with
        return (
            f"{trouble}: went back to the weights of epoch {self._guard.kept}, at "
            f"{self._guard.rate_scale:g} of the learning rate ({self._guard.returns} of "
            f"{self._spec.recipe.guard_returns} times)"
        )

    def _give_up(self, trouble: str) -> NoReturn:
        folder = self._spec.output
        if self._guard.returns:
            trouble += f", though the run went back {self._guard.returns} times"
        kept = "there is no checkpoint yet"
        if (folder / LAST).exists():
            kept = f"{folder / LAST} is the last checkpoint"
        start = f", from {folder / BEST} with {option('--init')}" if self._best.epoch else ""
        raise ModelError(
            f"{trouble}: {kept}",
            fix=f"start another run with a lower learning_rate or a clip_norm{start}",
        )
