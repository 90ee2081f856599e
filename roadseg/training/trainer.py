"""A run's epochs: steps, validation, log and checkpoint."""

from __future__ import annotations

import math
import time
from typing import Any

import torch
from torch import Tensor, nn

from roadseg.models import load_weights
from roadseg.training.checkpoint import CheckpointWriter, fit_explained, load_checkpoint
from roadseg.training.curves import Board
from roadseg.training.distributed import World
from roadseg.training.divergence import Divergence
from roadseg.training.feed import TrainingData
from roadseg.training.folder import KEPT, LAST
from roadseg.training.guard import Guard
from roadseg.training.learner import Learner, StepLosses
from roadseg.training.limits import memory_explained
from roadseg.training.log import append_line
from roadseg.training.objective import Objective
from roadseg.training.progress import EpochEnd, ShowTraining, TrainingProgress
from roadseg.training.schedule import Course
from roadseg.training.spec import RunSpec
from roadseg.training.validation import BestWeights


class Trainer:
    """A run under way.

    Args:
        spec: of the run, whose folder exists.
        network: what it starts with.
        data: what it trains on.
        place: this process among those that train together.
        show: gets a state after every step, and from the process that leads after every epoch.

    Attributes:
        learner: the network and all that a step changes.
        epoch: how many are over.
        course: how far the run is.
        loss_value: of the last step whose loss has been read; NaN before it.
        best: judges the averaged weights, and keeps the best.
        guard: notices when the run diverges.
        checkpoints: writes them; a context manager to be in while epochs run.
    """

    def __init__(
        self,
        spec: RunSpec,
        network: nn.Module,
        data: TrainingData,
        place: World,
        show: ShowTraining | None = None,
    ) -> None:
        self.spec, self.recipe = spec, spec.recipe
        self.folder, self.classes = spec.output, spec.classes
        self.data, self.world, self.device, self._show = data, place, place.device, show
        teacher = None if spec.teacher is None else load_weights(spec.teacher, spec.classes)[0]
        objective = Objective(data.class_weights, self.recipe, self.device, teacher, self.classes)
        self.learner = Learner(
            network, objective, self.recipe, self.classes.num_classes, self.device
        )
        self.board = Board(self.folder, self.classes.names) if place.leads else None
        self.best = BestWeights(spec, data, objective, self.device)
        self.epoch = 0
        steps_per_epoch = data.feed.steps_per_epoch
        self.course = Course(self.recipe, steps_per_epoch, spec.time_budget_s)
        self.loss_value = math.nan
        self.guard = Guard(self.recipe, steps_per_epoch)
        self.checkpoints = CheckpointWriter(self.folder / LAST)
        self._divergence = Divergence(
            spec, self.learner, self.guard, self.best, self.checkpoints, place
        )

    def _rate(self) -> float:
        """The learning rate of the step that comes next."""
        return self.course.rate() * self.guard.rate_scale

    def run_epoch(self) -> None:
        """Train on every batch of an epoch, validate when it is due, begin to write a checkpoint.

        Where the run has diverged, it goes back to the best checkpoint, and on at half the rate.

        Raises:
            ModelError: the run has diverged, or a loss or weight is no longer finite, and there is
                no going back.
            BackendError: the device has too little memory.
            SinkError: the folder cannot be written, or an earlier checkpoint was not.
        """
        # One process alone cannot try what all do together.
        try_batch = self.learner.try_batch if self.world.size == 1 else None
        with memory_explained(self.device, self.recipe, try_batch):
            losses, loss = self._train()
            trouble = self._divergence.trouble(self.epoch + 1, losses, loss, self.course)
        self.epoch += 1
        rate = self.learner.rate
        note = None if trouble is None else self._divergence.go_back(trouble)
        if self.world.leads:
            entry: dict[str, Any] = {
                "loss": loss,
                "learning_rate": rate,
                "gradient_norm": float(torch.stack(self.learner.norms).median()),
            }
            if note is not None:
                entry |= {"returned_to": self.guard.kept, "rate_scale": self.guard.rate_scale}
            if self.epoch % self.recipe.validate_every == 0 or self.course.finished:
                entry |= self.best.judge(self.learner.average.state, self.epoch)
            # The log is ahead of the checkpoint, never behind: resuming forgets the rest.
            self._log(entry)
            keep = note is None and self.guard.is_time_to_keep(self.epoch)
            if keep:
                self.guard.kept = self.epoch
            self.checkpoints.write(self.state(), before=self.folder / KEPT if keep else None)
            if self._show is not None:
                miou = entry.get("miou", math.nan)
                self._show(
                    EpochEnd(**self._figures(loss=loss, learning_rate=rate, miou=miou), note=note)
                )
        # Nobody runs ahead of the validation; all know what there is to go back to.
        self.guard.kept = _epoch_or_none(self.world.agree(float(self.guard.kept or 0)))

    def judge_where_it_ends(self) -> None:
        """Validate where a run is over as soon as it goes on: with fewer epochs or minutes than it
        has had it was to go on when it was interrupted."""
        if self.world.leads and self.epoch % self.recipe.validate_every:
            self.best.judge(self.learner.average.state, self.epoch)

    def _train(self) -> tuple[list[float], float]:
        """All steps of an epoch: this process's losses, and the mean over all processes.

        The mean is not finite where one of them is not.
        """
        # Seeded by the epoch rather than kept in the checkpoint: a run goes on exactly, dropout
        # included, on another machine or device.
        self.learner.begin_epoch(self.spec.seed * 1_000_003 + self.epoch)
        losses, course = StepLosses(), self.course
        first = course.step
        elapsed_s, before = course.elapsed_s, time.monotonic()
        for images, labels in self.data.feed.epoch(self.spec.seed, self.epoch):
            losses.add(self._step(images, labels))
            finite = self._take_note(losses)
            now = time.monotonic()
            elapsed_s, before = elapsed_s + now - before, now
            # Several processes must take the same steps at the same rate, and their clocks differ:
            # they look at the leading one's together, after the epoch.
            if self.world.size == 1:
                course.elapsed_s = elapsed_s
            if self._show is not None:
                self._show(TrainingProgress(**self._figures()))
            if self.world.size == 1 and (course.finished or not finite):
                break
        losses.finish()
        if not self._take_note(losses) and self.world.size == 1:
            # The rest of the epoch is left out.
            course.step = first + course.steps_per_epoch
        course.elapsed_s = self.world.agree(elapsed_s + time.monotonic() - before)
        # All come to the same conclusions: nobody goes on where another process goes back.
        mean = self.world.mean(sum(losses.values) / len(losses.values))
        return losses.values, self.world.agree(mean)

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        self.learner.set_rate(self._rate())
        loss = self.learner.step(images, labels, evenly=self.course.averages_evenly)
        self.course.step += 1
        return loss

    def _take_note(self, losses: StepLosses) -> bool:
        """Whether the loss that was read last is a number."""
        if losses.values:
            self.loss_value = losses.values[-1]
        return not losses.values or math.isfinite(self.loss_value)

    def _log(self, entry: dict[str, Any]) -> None:
        step, elapsed_s = self.course.step, round(self.course.elapsed_s, 1)
        line = {"epoch": self.epoch, "step": step, "elapsed_s": elapsed_s, **entry}
        append_line(self.folder, line)
        if self.board is not None:
            self.board.write(line)

    def _figures(self, **others: float) -> dict[str, Any]:
        """Where the run stands, as `TrainingProgress` takes it; `others` in place of its own."""
        course = self.course
        return {
            "fraction": course.fraction,
            "elapsed_s": course.elapsed_s,
            "left_s": course.left_s,
            "epoch": self.epoch,
            "epochs": course.epochs,
            "step": course.step,
            "loss": self.loss_value,
            "learning_rate": self.learner.rate,
            "miou": self.best.last_miou,
            "best_miou": self.best.miou,
        } | others

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, on the same machine or another."""
        return {
            "model_name": self.spec.model,
            "classes": list(self.classes.names),
            **self.learner.state(),
            "epoch": self.epoch,
            "step": self.course.step,
            "elapsed_s": self.course.elapsed_s,
            "miou": self.best.last_miou,
            "best": (self.best.epoch, self.best.miou),
            "guard": self.guard.state(),
        }

    def restore(self) -> None:
        """Go on from the last checkpoint.

        Raises:
            ModelError: it is missing, damaged, or of another network or other classes.
        """
        path = self.folder / LAST
        state = load_checkpoint(path, self.spec.model, self.classes)
        with fit_explained(path, self.spec.model):
            self.learner.restore(state)
            self.epoch, self.best.last_miou = state["epoch"], state["miou"]
            self.course.step, self.course.elapsed_s = state["step"], state["elapsed_s"]
            self.best.restore(*state["best"])
            self.guard.restore(state.get("guard", {}))
        if not (self.folder / KEPT).exists():  # removed to save space, or from before the guard
            self.guard.kept = None
        # A run that had ended goes on at a higher rate, at which a higher loss is no divergence.
        if self._rate() > 1.1 * self.learner.rate:
            self.guard.forget()


def _epoch_or_none(number: float) -> int | None:
    return int(number) or None
