"""One run's state, and what an epoch does to it: crops -> scores -> loss -> step -> average."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from roadseg.errors import BackendError, ModelError, UsageError
from roadseg.labels import CAMVID, ClassSet
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
from roadseg.training.limits import is_out_of_memory, largest_batch
from roadseg.training.log import append_line
from roadseg.training.objective import Objective, on_device
from roadseg.training.recipes import Recipe
from roadseg.training.schedule import learning_rate
from roadseg.training.step_losses import StepLosses
from roadseg.training.validation import confusion, recompute_statistics

__all__ = ["BEST", "LAST", "Progress", "Trainer"]

LAST = "last.ckpt"
BEST = "best.pt"


@dataclass(frozen=True)
class Progress:
    """Where a run stands, after every step; the command line draws it.

    `fraction` is 0..1 of the whole schedule; `loss` is that of the step before the last one, and
    `miou` of the last validation, NaN before it.
    """

    epoch: int
    step: int
    fraction: float
    loss: float
    learning_rate: float
    miou: float
    best_miou: float
    elapsed_s: float


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
        self.optimizer = _optimizer(self.model, recipe)
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

    def run_epoch(self, on_step: Callable[[Progress], None] | None = None) -> None:
        """Train on every batch of an epoch, validate when it is due, begin to write a checkpoint.

        Raises:
            ModelError: the loss or a weight is no longer finite.
            BackendError: the device has too little memory.
            SinkError: the folder cannot be written, or an earlier checkpoint was not.
        """
        with self._memory_explained():
            loss = self._train(on_step)
            self._check_weights()
        self.epoch += 1
        if self.world.leads:
            entry: dict[str, Any] = {
                "loss": loss,
                "learning_rate": self.optimizer.param_groups[0]["lr"],
                "gradient_norm": float(torch.stack(self._norms).median()),
            }
            if self.epoch % self.recipe.validate_every == 0 or self.finished:
                entry |= self.validate()
            # The log is ahead of the checkpoint, never behind: resuming forgets the rest.
            self._log(entry)
            self.checkpoints.write(self.state())
        self.world.agree(0.0)  # nobody runs ahead of the validation

    def _train(self, on_step: Callable[[Progress], None] | None) -> float:
        """All steps of an epoch; the mean of their losses."""
        # Seeded by the epoch rather than kept in the checkpoint: a run goes on exactly, dropout
        # included, on another machine or device.
        torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        self.model.train()
        losses = StepLosses()
        self._norms.clear()
        elapsed_s, before = self.elapsed_s, time.monotonic()
        for images, labels in self.feed.epoch(self.seed, self.epoch):
            rate = learning_rate(self.recipe, self.step, self.feed.steps_per_epoch, self.fraction)
            losses.add(self._step(images, labels, rate))
            self._check(losses)
            now = time.monotonic()
            elapsed_s, before = elapsed_s + now - before, now
            # Several processes must take the same steps at the same rate, and their clocks differ:
            # they look at the leading one's together, after the epoch.
            if self.world.size == 1:
                self.elapsed_s = elapsed_s
            if on_step is not None:
                on_step(self._progress(rate))
            if self.finished and self.world.size == 1:
                break
        losses.finish()
        self._check(losses)
        self.elapsed_s = self.world.agree(elapsed_s + time.monotonic() - before)
        # Nobody goes on to the checkpoint where another process has given up.
        return self.world.mean(sum(losses.values) / len(losses.values))

    def _step(self, images: Tensor, labels: Tensor, rate: float) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        loss = self.step_module(images, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._norms.append(_clip(self.model, self.recipe.clip_norm))
        self.optimizer.step()
        share = self.recipe.swa_share
        self.average.update(self.model, evenly=share > 0 and self.fraction >= 1 - share)
        self.step += 1
        return loss

    def _check(self, losses: StepLosses) -> None:
        """Take note of the loss that was read last; refuse to go on if it is none."""
        if losses.values:
            self.loss_value = losses.values[-1]
            if not math.isfinite(self.loss_value):
                number, count = len(losses.values), self.feed.steps_per_epoch
                self._give_up(f"the loss is {self.loss_value} in batch {number} of {count}")

    def _check_weights(self) -> None:
        """Refuse to keep weights that the last step of an epoch has spoilt."""
        floats = [v for v in self.model.state_dict().values() if v.is_floating_point()]
        if not torch.stack(torch._foreach_norm(floats)).isfinite().all():
            self._give_up("the weights are not finite at the end")

    def _give_up(self, what: str) -> NoReturn:
        self.checkpoints.finish()
        kept = "there is no checkpoint yet"
        if (self.folder / LAST).exists():
            kept = f"{self.folder / LAST} is the last good checkpoint"
        start = f", from {self.folder / BEST} with --init" if self.best_epoch else ""
        raise ModelError(
            f"{what} of epoch {self.epoch + 1}: {kept}; start another run with a lower "
            f"learning_rate{start}"
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
                f"crops of {height}x{width}: {advice} (in a --recipe FILE.toml)"
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
        }

    def restore(self) -> None:
        """Go on from the last checkpoint.

        Raises:
            ModelError: it is missing, damaged, or of another network or other classes.
        """
        path = self.folder / LAST
        state = load_checkpoint(path, self.model_name, self.classes)
        try:
            self.model.load_state_dict(state["model"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.updates, self.average.even_updates, averaged = state["average"]
            self.average.state = {key: value.to(self.device) for key, value in averaged.items()}
            self.epoch, self.step = state["epoch"], state["step"]
            self.elapsed_s, self.miou = state["elapsed_s"], state["miou"]
            self.best_epoch, self.best_miou = state["best"]
        except (RuntimeError, KeyError, ValueError) as exc:
            raise ModelError(
                f"{path} does not fit {self.model_name} as it is now: start again with another "
                "--output"
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
                f"{weights} holds {meta['model']}: use --model {meta['model']}, or other weights"
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

    def _progress(self, rate: float) -> Progress:
        return Progress(
            self.epoch,
            self.step,
            self.fraction,
            self.loss_value,
            rate,
            self.miou,
            self.best_miou,
            self.elapsed_s,
        )


class _LossOf(nn.Module):
    """Network and loss as one module, which is what can be made parallel and be compiled."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        self.model = trainer.model
        self._objective = trainer.objective

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._objective(self.model, images, labels)


def _clip(model: nn.Module, limit: float) -> Tensor:
    """The norm of all gradients together, a scalar; those of a larger one than `limit` shrink."""
    # Without a limit the norm is measured all the same: it tells why a run went astray.
    return nn.utils.clip_grad_norm_(model.parameters(), limit or math.inf, foreach=True)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Decaying batch-norm scales and biases only slows them down; it regularises convolutions.
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, recipe.learning_rate)
