"""A run's epochs: steps, validation, log and checkpoint, and the way back from divergence."""

from __future__ import annotations

import math
import time
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from roadseg.core.errors import ModelError
from roadseg.core.wording import option
from roadseg.models import load_weights
from roadseg.training.checkpoint import CheckpointWriter, fit_explained, load_checkpoint
from roadseg.training.curves import Board
from roadseg.training.data import TrainingData
from roadseg.training.distributed import World
from roadseg.training.folder import BEST, KEPT, LAST
from roadseg.training.guard import Guard
from roadseg.training.learner import Learner
from roadseg.training.limits import memory_explained
from roadseg.training.log import append_line
from roadseg.training.objective import Objective
from roadseg.training.progress import EpochEnd, ShowTraining, TrainingProgress
from roadseg.training.schedule import learning_rate
from roadseg.training.spec import RunSpec
from roadseg.training.step_losses import StepLosses
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
        epoch, step: taken so far.
        elapsed_s: training time so far, over all resumptions; validation not counted.
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
        self.epoch = self.step = 0
        self.elapsed_s = 0.0
        self.loss_value = math.nan
        self.guard = Guard(self.recipe, data.feed.steps_per_epoch)
        self.checkpoints = CheckpointWriter(self.folder / LAST)

    # -- the schedule ----------------------------------------------------------------------

    @property
    def epochs(self) -> int | None:
        """How many epochs there will be; None where time ends the run."""
        return self.recipe.epochs if self.spec.time_budget_s is None else None

    @property
    def fraction(self) -> float:
        """How much of the run is over, 0..1."""
        if self.spec.time_budget_s is not None:
            return min(1.0, self.elapsed_s / self.spec.time_budget_s)
        return min(1.0, self.step / (self.recipe.epochs * self.data.feed.steps_per_epoch))

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended."""
        return self.fraction >= 1.0

    def _rate(self) -> float:
        """The learning rate of the step that comes next."""
        steps = self.data.feed.steps_per_epoch
        rate = learning_rate(self.recipe, self.step, steps, self.fraction)
        return rate * self.guard.rate_scale

    # -- one epoch -------------------------------------------------------------------------

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
            loss = self._train()
            trouble = self._trouble(loss)
        self.epoch += 1
        rate = self.learner.rate
        note = None if trouble is None else self._go_back(trouble)
        if self.world.leads:
            entry: dict[str, Any] = {
                "loss": loss,
                "learning_rate": rate,
                "gradient_norm": float(torch.stack(self.learner.norms).median()),
            }
            if note is not None:
                entry |= {"returned_to": self.guard.kept, "rate_scale": self.guard.rate_scale}
            if self.epoch % self.recipe.validate_every == 0 or self.finished:
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

    def _train(self) -> float:
        """All steps of an epoch; the mean of their losses, and not finite where one is not."""
        # Seeded by the epoch rather than kept in the checkpoint: a run goes on exactly, dropout
        # included, on another machine or device.
        self.learner.begin_epoch(self.spec.seed * 1_000_003 + self.epoch)
        losses = StepLosses()
        first = self.step
        elapsed_s, before = self.elapsed_s, time.monotonic()
        for images, labels in self.data.feed.epoch(self.spec.seed, self.epoch):
            losses.add(self._step(images, labels))
            finite = self._take_note(losses)
            now = time.monotonic()
            elapsed_s, before = elapsed_s + now - before, now
            # Several processes must take the same steps at the same rate, and their clocks differ:
            # they look at the leading one's together, after the epoch.
            if self.world.size == 1:
                self.elapsed_s = elapsed_s
            if self._show is not None:
                self._show(TrainingProgress(**self._figures()))
            if self.world.size == 1 and (self.finished or not finite):
                break
        losses.finish()
        if not self._take_note(losses) and self.world.size == 1:
            # The rest of the epoch is left out.
            self.step = first + self.data.feed.steps_per_epoch
        self.elapsed_s = self.world.agree(elapsed_s + time.monotonic() - before)
        self._losses = losses.values
        # All come to the same conclusions: nobody goes on where another process goes back.
        return self.world.agree(self.world.mean(sum(losses.values) / len(losses.values)))

    def _step(self, images: Tensor, labels: Tensor) -> Tensor:
        self.learner.set_rate(self._rate())
        share = self.recipe.swa_share
        evenly = share > 0 and self.fraction >= 1 - share
        loss = self.learner.step(images, labels, evenly=evenly)
        self.step += 1
        return loss

    def _take_note(self, losses: StepLosses) -> bool:
        """Whether the loss that was read last is a number."""
        if losses.values:
            self.loss_value = losses.values[-1]
        return not losses.values or math.isfinite(self.loss_value)

    def _log(self, entry: dict[str, Any]) -> None:
        line = {"epoch": self.epoch, "step": self.step, "elapsed_s": round(self.elapsed_s, 1)}
        line |= entry
        append_line(self.folder, line)
        if self.board is not None:
            self.board.write(line)

    def _figures(self, **others: float) -> dict[str, Any]:
        """Where the run stands, as `TrainingProgress` takes it; `others` in place of its own."""
        left = (1 - self.fraction) / self.fraction if self.fraction > 0 else None
        return {
            "fraction": self.fraction,
            "elapsed_s": self.elapsed_s,
            "left_s": None if left is None else self.elapsed_s * left,
            "epoch": self.epoch,
            "epochs": self.epochs,
            "step": self.step,
            "loss": self.loss_value,
            "learning_rate": self.learner.rate,
            "miou": self.best.last_miou,
            "best_miou": self.best.miou,
        } | others

    # -- runs that diverge -----------------------------------------------------------------

    def _trouble(self, loss: float) -> str | None:
        """What is wrong after an epoch of this mean loss, in words; None while nothing is."""
        number = self.epoch + 1
        if not math.isfinite(loss):
            losses = self._losses
            # Among several processes it may be another one's.
            at = next((i for i, v in enumerate(losses) if not math.isfinite(v)), len(losses) - 1)
            value, count = losses[at], self.data.feed.steps_per_epoch
            return f"the loss is {value} in batch {at + 1} of {count} of epoch {number}"
        if self.world.mean(float(self.learner.is_finite())) < 1:
            return f"the weights are not finite at the end of epoch {number}"
        if self.finished:  # there is no time left to do better, and the best weights are kept
            return None
        risen = self.guard.watch(number, loss)
        return None if risen is None else f"{risen} by epoch {number}"

    def _go_back(self, trouble: str) -> str:
        """Take up the best checkpoint again, to go on from it at half the rate; says so.

        Time and epochs go on: the run ends when it was to end.

        Raises:
            ModelError: there is none, or the run has gone back too often, or it is damaged.
        """
        # What the leading process has kept is on the disk before any reads it.
        self.checkpoints.finish()
        self.world.agree(0.0)
        if not self.guard.can_go_back:
            self._give_up(trouble)
        path = self.folder / KEPT
        state = load_checkpoint(path, self.spec.model, self.classes)
        rate = self.learner.rate
        with fit_explained(path, self.spec.model):
            self.learner.restore(state)
        self.guard.go_back(state["epoch"])
        self.learner.set_rate(rate / 2)  # what a resumption compares its own rate with
        return (
            f"{trouble}: went back to the weights of epoch {self.guard.kept}, at "
            f"{self.guard.rate_scale:g} of the learning rate ({self.guard.returns} of "
            f"{self.recipe.guard_returns} times)"
        )

    def _give_up(self, trouble: str) -> NoReturn:
        if self.guard.returns:
            trouble += f", though the run went back {self.guard.returns} times"
        kept = "there is no checkpoint yet"
        if (self.folder / LAST).exists():
            kept = f"{self.folder / LAST} is the last checkpoint"
        start = f", from {self.folder / BEST} with {option('--init')}" if self.best.epoch else ""
        raise ModelError(
            f"{trouble}: {kept}",
            fix=f"start another run with a lower learning_rate or a clip_norm{start}",
        )

    # -- state -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, on the same machine or another."""
        return {
            "model_name": self.spec.model,
            "classes": list(self.classes.names),
            **self.learner.state(),
            "epoch": self.epoch,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
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
            self.epoch, self.step = state["epoch"], state["step"]
            self.elapsed_s, self.best.last_miou = state["elapsed_s"], state["miou"]
            self.best.epoch, self.best.miou = state["best"]
            self.guard.restore(state.get("guard", {}))
        if not (self.folder / KEPT).exists():  # removed to save space, or from before the guard
            self.guard.kept = None
        # A run that had ended goes on at a higher rate, at which a higher loss is no divergence.
        if self._rate() > 1.1 * self.learner.rate:
            self.guard.forget()


def _epoch_or_none(number: float) -> int | None:
    return int(number) or None
