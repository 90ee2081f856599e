"""One run's state, and what an epoch does to it: crops -> scores -> loss -> step -> average."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from roadseg.core.errors import BackendError, ModelError, UsageError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.wording import option
from roadseg.models import (
    SegNetLite,
    build_model,
    load_weights,
    save_weights,
    weights_classes,
)
from roadseg.models.transfer import keep_all_but_classes
from roadseg.training.checkpoint import AveragedWeights, CheckpointWriter, load_checkpoint
from roadseg.training.curves import Board
from roadseg.training.distributed import World
from roadseg.training.feed import Feed, LabelledFrame
from roadseg.training.guard import Guard
from roadseg.training.limits import is_out_of_memory, largest_batch
from roadseg.training.log import append_line
from roadseg.training.objective import Objective, on_device
from roadseg.training.optimizer import build_optimizer, centre_scores, clip_gradients
from roadseg.training.progress import EpochEnd, Progress
from roadseg.training.recipes import Recipe
from roadseg.training.schedule import learning_rate
from roadseg.training.step_losses import StepLosses
from roadseg.training.validation import confusion, recompute_statistics

__all__ = ["BEST", "KEPT", "LAST", "EpochEnd", "Progress", "Trainer"]

LAST = "last.ckpt"
KEPT = "best.ckpt"
BEST = "best.safetensors"


class Trainer:
    """A network in training.

    Args:
        model_name: a name of `roadseg.models`.
        model: the network; moved to the device.
        feed: training batches.
        frames: the training frames, for batch-norm statistics.
        validation: labelled frames that choose the snapshot.
        weights: (C,) float32 of the classes in the cross-entropy.
        recipe: every number of the run.
        folder: where it lives; exists.
        seed: of order and augmentation.
        time_budget_s: ends the schedule, instead of `recipe.epochs`.
        world: this process among those that train together.
        teacher: a network in eval mode whose scores are learnt from, too.
        classes: what the labels tell apart.

    Attributes:
        epoch, step: taken so far.
        elapsed_s: training time so far, over all resumptions; validation not counted.
        loss_value: of the last step whose loss has been read; NaN before it.
        miou: of the last validation; NaN before it.
        best_miou, best_epoch: of the weights kept.
        guard: notices when the run diverges.
        checkpoints: writes them; a context manager to be in while epochs run.
    """

    def __init__(
        self,
        model_name: str,
        model: nn.Module,
        feed: Feed,
        frames: Sequence[LabelledFrame],
        validation: Sequence[LabelledFrame],
        weights: Any,
        recipe: Recipe,
        folder: Path,
        seed: int,
        time_budget_s: float | None,
        world: World,
        teacher: nn.Module | None = None,
        classes: ClassSet = CAMVID,
    ) -> None:
        self.model_name, self.recipe, self.folder, self.seed = model_name, recipe, folder, seed
        self.time_budget_s, self.world = time_budget_s, world
        self.feed, self.frames, self.validation = feed, frames, validation
        self.device, self.classes = world.device, classes
        self.model = on_device(model, self.device)
        self.objective = Objective(weights, recipe, self.device, teacher, classes)
        self.optimizer = build_optimizer(self.model, recipe)
        self.average = AveragedWeights(self.model, recipe.ema_decay)
        if recipe.auxiliary_weight == 0 and isinstance(self.model, SegNetLite):
            # Processes that train together wait for the gradient of all that could have one.
            self.model.auxiliary.requires_grad_(False)
        # What computes the loss: the only part that processes share and compilers fuse.
        self.step_module: Callable[[Tensor, Tensor], Tensor] = _LossOf(self)
        self.board = Board(folder, classes.names) if world.leads else None
        self.epoch = self.step = self.best_epoch = 0
        self.elapsed_s = 0.0
        # Kept on the device until the epoch is over: reading one would make a GPU wait.
        self._norms: list[Tensor] = []
        self.loss_value = self.miou = self.best_miou = math.nan
        self.guard = Guard(recipe, feed.steps_per_epoch)
        self.checkpoints = CheckpointWriter(folder / LAST)

    def connect(self, *, compiled: bool) -> None:
        """Share gradients among processes and fuse the step, once the weights are in place."""
        module = self.world.parallel(_LossOf(self))
        # SyncBatchNorm replaces layers: what is trained and averaged is what is inside.
        inner = module.module if self.world.size > 1 else module
        self.model = inner.model  # type: ignore[union-attr,assignment]
        self.step_module = torch.compile(module) if compiled else module

    # -- the schedule ----------------------------------------------------------------------

    @property
    def fraction(self) -> float:
        """How much of the run is over, 0..1."""
        if self.time_budget_s is not None:
            return min(1.0, self.elapsed_s / self.time_budget_s)
        return min(1.0, self.step / (self.recipe.epochs * self.feed.steps_per_epoch))

    @property
    def finished(self) -> bool:
        """Whether the schedule has ended."""
        return self.fraction >= 1.0

    # -- one epoch -------------------------------------------------------------------------

    def run_epoch(
        self,
        on_step: Callable[[Progress], None] | None = None,
        on_epoch: Callable[[EpochEnd], None] | None = None,
    ) -> None:
        """Train on every batch of an epoch, validate when it is due, begin to write a checkpoint.

        Where the run has diverged, it goes back to the best checkpoint, and on at half the rate.

        Raises:
            ModelError: the run has diverged, or a loss or weight is no longer finite, and there is
                no going back.
            BackendError: the device has too little memory.
            SinkError: the folder cannot be written, or an earlier checkpoint was not.
        """
        with self._memory_explained():
            loss = self._train(on_step)
            trouble = self._trouble(loss)
        self.epoch += 1
        rate = self.optimizer.param_groups[0]["lr"]
        note = None if trouble is None else self._go_back(trouble)
        if self.world.leads:
            entry: dict[str, Any] = {
                "loss": loss,
                "learning_rate": rate,
                "gradient_norm": float(torch.stack(self._norms).median()),
            }
            if note is not None:
                entry |= {"returned_to": self.guard.kept, "rate_scale": self.guard.rate_scale}
            if self.epoch % self.recipe.validate_every == 0 or self.finished:
                entry |= self.validate()
            # The log is ahead of the checkpoint, never behind: resuming forgets the rest.
            self._log(entry)
            keep = note is None and self.guard.is_time_to_keep(self.epoch)
            if keep:
                self.guard.kept = self.epoch
            self.checkpoints.write(self.state(), before=self.folder / KEPT if keep else None)
            if on_epoch is not None:
                on_epoch(self._epoch_end(entry, note))
        # Nobody runs ahead of the validation; all know what there is to go back to.
        self.guard.kept = _epoch_or_none(self.world.agree(float(self.guard.kept or 0)))

    def _train(self, on_step: Callable[[Progress], None] | None) -> float:
        """All steps of an epoch; the mean of their losses, and not finite where one is not."""
        # Seeded by the epoch rather than kept in the checkpoint: a run goes on exactly, dropout
        # included, on another machine or device.
        torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        self.model.train()
        losses = StepLosses()
        self._norms.clear()
        first = self.step
        elapsed_s, before = self.elapsed_s, time.monotonic()
        for images, labels in self.feed.epoch(self.seed, self.epoch):
            losses.add(self._step(images, labels, self._rate()))
            finite = self._take_note(losses)
            now = time.monotonic()
            elapsed_s, before = elapsed_s + now - before, now
            # Several processes must take the same steps at the same rate, and their clocks differ:
            # they look at the leading one's together, after the epoch.
            if self.world.size == 1:
                self.elapsed_s = elapsed_s
            if on_step is not None:
                on_step(self._progress())
            if self.world.size == 1 and (self.finished or not finite):
                break
        losses.finish()
        if not self._take_note(losses) and self.world.size == 1:
            self.step = first + self.feed.steps_per_epoch  # the rest of the epoch is left out
        self.elapsed_s = self.world.agree(elapsed_s + time.monotonic() - before)
        self._losses = losses.values
        # All come to the same conclusions: nobody goes on where another process goes back.
        return self.world.agree(self.world.mean(sum(losses.values) / len(losses.values)))

    def _rate(self) -> float:
        """The learning rate of the step that comes next."""
        steps = self.feed.steps_per_epoch
        rate = learning_rate(self.recipe, self.step, steps, self.fraction)
        return rate * self.guard.rate_scale

    def _step(self, images: Tensor, labels: Tensor, rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.step_module(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._norms.append(clip_gradients(self.model, self.recipe.clip_norm))
        self.optimizer.step()
        centre_scores(self.model, self.classes.num_classes)
        share = self.recipe.swa_share
        self.average.update(self.model, evenly=share > 0 and self.fraction >= 1 - share)
        self.step += 1
        return loss

    def _take_note(self, losses: StepLosses) -> bool:
        """Whether the loss that was read last is a number."""
        if losses.values:
            self.loss_value = losses.values[-1]
        return not losses.values or math.isfinite(self.loss_value)

    # -- runs that diverge -----------------------------------------------------------------

    def _trouble(self, loss: float) -> str | None:
        """What is wrong after an epoch of this mean loss, in words; None while nothing is."""
        number = self.epoch + 1
        if not math.isfinite(loss):
            losses = self._losses
            # Among several processes it may be another one's.
            at = next((i for i, v in enumerate(losses) if not math.isfinite(v)), len(losses) - 1)
            value, count = losses[at], self.feed.steps_per_epoch
            return f"the loss is {value} in batch {at + 1} of {count} of epoch {number}"
        # The last step of an epoch may spoil the weights, and no loss tells of that.
        floats = [v for v in self.model.state_dict().values() if v.is_floating_point()]
        finite = bool(torch.stack(torch._foreach_norm(floats)).isfinite().all())
        if self.world.mean(float(finite)) < 1:
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
        state = load_checkpoint(path, self.model_name, self.classes)
        rate = self.optimizer.param_groups[0]["lr"]
        self._take_up(path, state)
        self.guard.go_back(state["epoch"])
        for group in self.optimizer.param_groups:  # what a resumption compares its own rate with
            group["lr"] = rate / 2
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
        start = f", from {self.folder / BEST} with {option('--init')}" if self.best_epoch else ""
        raise ModelError(
            f"{trouble}: {kept}",
            fix=f"start another run with a lower learning_rate or a clip_norm{start}",
        )

    @contextmanager
    def _memory_explained(self) -> Iterator[None]:
        """Turns a lack of memory into an error that names a batch that fits."""
        try:
            yield
        except (RuntimeError, MemoryError) as exc:
            if not is_out_of_memory(exc):
                raise
            # Its frames hold all that the step had come to.
            traceback.clear_frames(exc.__traceback__)
            height, width = self.recipe.crop_hw
            advice = "use a smaller batch_size"
            if self.world.size == 1:  # one process alone cannot try what all do together
                fits = largest_batch(self.recipe.batch_size, self._try_batch)
                advice = f"batch_size = {fits} fits" if fits else "use a smaller crop_hw"
            raise BackendError(
                f"{self.device} has too little memory for batches of {self.recipe.batch_size} "
                f"crops of {height}x{width}",
                fix=f"{advice} (in a recipe of your own, a .toml file)",
            ) from exc

    def _try_batch(self, count: int) -> None:
        """A step on `count` grey crops, after which the weights are of no use."""
        self.optimizer.zero_grad(set_to_none=True)
        height, width = self.recipe.crop_hw
        images = torch.full((count, 3, height, width), 0.5, device=self.device)
        images = images.contiguous(memory_format=torch.channels_last)
        labels = torch.zeros((count, height, width), dtype=torch.int64, device=self.device)
        self.objective(self.model, images, labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()

    def validate(self) -> dict[str, Any]:
        """Score the averaged weights; keep them when they are the best so far."""
        model = on_device(build_model(self.model_name, self.classes.num_classes), self.device)
        model.load_state_dict(self.average.state)
        with self.objective.autocast():
            if self.recipe.statistics_batches:
                recompute_statistics(
                    model, self.frames, self.recipe.batch_size, self.recipe.statistics_batches
                )
            matrix = confusion(model, self.validation, self.classes.num_classes)
        self.miou = float(matrix.miou)
        if not self.miou <= self.best_miou:
            self.best_miou, self.best_epoch = self.miou, self.epoch
            save_weights(
                self.folder / BEST,
                model,
                self.model_name,
                classes=self.classes,
                recipe=self.recipe.name,
                epoch=self.epoch,
                validation_miou=self.miou,
            )
        return {
            "miou": self.miou,
            "global_accuracy": float(matrix.global_accuracy),
            "class_accuracy": float(matrix.class_accuracy),
            "iou": [round(float(v), 4) for v in matrix.per_class_iou],
        }

    # -- state -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, on the same machine or another."""
        return {
            "model_name": self.model_name,
            "classes": list(self.classes.names),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": (self.average.updates, self.average.even_updates, self.average.state),
            "epoch": self.epoch,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "miou": self.miou,
            "best": (self.best_epoch, self.best_miou),
            "guard": self.guard.state(),
        }

    def restore(self) -> None:
        """Go on from the last checkpoint.

        Raises:
            ModelError: it is missing, damaged, or of another network or other classes.
        """
        path = self.folder / LAST
        state = load_checkpoint(path, self.model_name, self.classes)
        self._take_up(path, state)
        with self._fit_explained(path):
            self.epoch, self.step = state["epoch"], state["step"]
            self.elapsed_s, self.miou = state["elapsed_s"], state["miou"]
            self.best_epoch, self.best_miou = state["best"]
            self.guard.restore(state.get("guard", {}))
        if not (self.folder / KEPT).exists():  # removed to save space, or from before the guard
            self.guard.kept = None
        # A run that had ended goes on at a higher rate, at which a higher loss is no divergence.
        if self._rate() > 1.1 * self.optimizer.param_groups[0]["lr"]:
            self.guard.forget()

    def _take_up(self, path: Path, state: dict[str, Any]) -> None:
        """Take weights, their average and the optimiser's memory from a checkpoint."""
        with self._fit_explained(path):
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.updates, self.average.even_updates, averaged = state["average"]
            self.average.state = {key: value.to(self.device) for key, value in averaged.items()}

    @contextmanager
    def _fit_explained(self, path: Path) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, KeyError, ValueError) as exc:
            raise ModelError(
                f"{path} does not fit {self.model_name} as it is now",
                fix=f"start again with another {option('--output', parameter='folder')}",
            ) from exc

    def start_from(self, weights: Path) -> str:
        """Take weights of the same network instead of random ones.

        Where they are for other classes, the layers that give a score for each class start anew.

        Returns:
            What was taken over, one line for people.

        Raises:
            ModelError: they are missing or damaged.
            UsageError: they are of another network.
        """
        model, meta = load_weights(weights)
        if meta["model"] != self.model_name:
            raise UsageError(
                f"{weights} holds {meta['model']}",
                fix=f"use {option('--model', meta['model'], parameter='model_name')}, or other "
                "weights",
            )
        own, state = weights_classes(weights), model.state_dict()
        if own.same_classes(self.classes):
            self.model.load_state_dict(state)
            told = f"starting from all weights of {weights}"
        else:
            kept, anew = keep_all_but_classes(self.model, self.model_name, state)
            told = (
                f"starting from {weights}, which knows {own}: {kept} layers are kept, "
                f"{' and '.join(anew[:2])}{', ...' if anew[2:] else ''} start anew for "
                f"{self.classes}"
            )
        self.average = AveragedWeights(self.model, self.recipe.ema_decay)
        return told

    def _log(self, entry: dict[str, Any]) -> None:
        line = {"epoch": self.epoch, "step": self.step, "elapsed_s": round(self.elapsed_s, 1)}
        line |= entry
        append_line(self.folder, line)
        if self.board is not None:
            self.board.write(line)

    @property
    def _epochs(self) -> int | None:
        return self.recipe.epochs if self.time_budget_s is None else None

    def _progress(self) -> Progress:
        return Progress(
            self.epoch,
            self.step,
            self.fraction,
            self.loss_value,
            self.optimizer.param_groups[0]["lr"],
            self.miou,
            self.best_miou,
            self.elapsed_s,
            self._epochs,
        )

    def _epoch_end(self, entry: dict[str, Any], note: str | None) -> EpochEnd:
        return EpochEnd(
            self.epoch,
            self._epochs,
            self.fraction,
            entry["loss"],
            entry["learning_rate"],
            entry.get("miou", math.nan),
            self.best_miou,
            self.elapsed_s,
            note,
        )


class _LossOf(nn.Module):
    """Network and loss as one module, which is what can be made parallel and be compiled."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.model = trainer.model
        self._objective = trainer.objective

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._objective(self.model, images, labels)


def _epoch_or_none(number: float) -> int | None:
    return int(number) or None
