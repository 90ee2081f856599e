"""One run's state, and what an epoch does to it: crops -> scores -> loss -> step -> average."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.errors import BackendError, ModelError, UsageError
from roadseg.labels import CAMVID, ClassSet
from roadseg.models import SegNetLite, build_model, load_weights, save_weights
from roadseg.training.checkpoint import AveragedWeights, load_checkpoint, save_checkpoint
from roadseg.training.curves import Board
from roadseg.training.distributed import World
from roadseg.training.feed import Feed, LabelledFrame
from roadseg.training.losses import SegmentationLoss, distillation_loss
from roadseg.training.recipes import Recipe
from roadseg.training.record import write_text
from roadseg.training.schedule import learning_rate
from roadseg.training.validation import confusion, recompute_statistics

__all__ = ["BEST", "LAST", "Progress", "Trainer"]

LAST = "last.ckpt"
BEST = "best.pt"


@dataclass(frozen=True)
class Progress:
    """Where a run stands, after every step; the command line draws it.

    `fraction` is 0..1 of the whole schedule; `miou` is the last validation's, NaN before it.
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
        miou: of the last validation; NaN before it.
        best_miou, best_epoch: of the weights kept.
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
        self.loss = SegmentationLoss(
            weights,
            recipe.jaccard_weight,
            label_smoothing=recipe.label_smoothing,
            hard_share=recipe.hard_share,
            void_id=classes.void_id,
        ).to(self.device)
        self.teacher = None if teacher is None else on_device(teacher.eval(), self.device)
        self.optimizer = _optimizer(self.model, recipe)
        self.average = AveragedWeights(self.model, recipe.ema_decay)
        # What computes the loss: the only part that processes share and compilers fuse.
        self.step_module: Callable[[Tensor, Tensor], Tensor] = _LossOf(self)
        self.board = Board(folder, classes.names) if world.leads else None
        self.epoch = self.step = self.best_epoch = 0
        self.elapsed_s = 0.0
        self.miou = self.best_miou = math.nan

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
        """Train on every batch of an epoch, validate when it is due, write a checkpoint.

        Raises:
            ModelError: the loss is no longer finite.
            BackendError: the device has too little memory.
            SinkError: the folder cannot be written.
        """
        # Seeded by the epoch rather than kept in the checkpoint: a run goes on exactly, dropout
        # included, on another machine or device.
        torch.manual_seed(self.seed * 1_000_003 + self.epoch)
        self.model.train()
        losses = []
        before = time.monotonic()
        for images, labels in self.feed.epoch(self.seed, self.epoch):
            rate = learning_rate(self.recipe, self.step, self.feed.steps_per_epoch, self.fraction)
            value = self._step(images, labels, rate)
            losses.append(value)
            now = time.monotonic()
            self.elapsed_s, before = self.elapsed_s + now - before, now
            if on_step is not None:
                on_step(self._progress(value, rate))
            # Several processes must end with the same step: they look at the clock together.
            if self.finished and self.world.size == 1:
                break
        self.elapsed_s = self.world.agree(self.elapsed_s)
        self.epoch += 1
        if self.world.leads:
            entry: dict[str, Any] = {"loss": float(np.mean(losses))}
            if self.epoch % self.recipe.validate_every == 0 or self.finished:
                entry |= self.validate()
            save_checkpoint(self.folder / LAST, self.state())
            self._log(entry)
        self.world.agree(0.0)  # nobody runs ahead of the validation

    def _step(self, images: Tensor, labels: Tensor, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        try:
            loss = self.step_module(images, labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        except RuntimeError as exc:
            if not _is_out_of_memory(exc):
                raise
            fits = self._fitting_batch(images, labels)
            advice = f"batch_size = {fits} fits" if fits else "use a smaller crop_hw"
            raise BackendError(
                f"{self.device} has too little memory for batches of {len(images)} crops of "
                f"{images.shape[2]}x{images.shape[3]}: {advice} (in a --recipe FILE.toml)"
            ) from exc
        value = float(loss.item())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss is {value} at epoch {self.epoch}, step {self.step} (batch "
                f"{self.step % self.feed.steps_per_epoch} of the epoch): {self.folder / LAST} is "
                "the last good checkpoint; lower learning_rate"
            )
        self.optimizer.step()
        share = self.recipe.swa_share
        self.average.update(self.model, evenly=share > 0 and self.fraction >= 1 - share)
        self.step += 1
        return value

    def _fitting_batch(self, images: Tensor, labels: Tensor) -> int:
        """The largest halving of a batch that trains in the memory there is; 0 for none."""
        count = len(images) // 2
        while count and not self._fits(images[:count], labels[:count]):
            count //= 2
        return count

    def _fits(self, images: Tensor, labels: Tensor) -> bool:
        try:
            self.optimizer.zero_grad(set_to_none=True)
            self.step_module(images, labels).backward()  # type: ignore[no-untyped-call]
        except RuntimeError as exc:
            if not _is_out_of_memory(exc):
                raise
            return False
        return True

    def loss_of(self, model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Forward and loss of a batch, in bfloat16 where that is what the machine is fast at."""
        weight = self.recipe.auxiliary_weight
        with self.autocast():
            if weight > 0 and isinstance(model, SegNetLite):
                scores, auxiliary = model.forward_with_auxiliary(images)
            else:
                scores, auxiliary = model(images), None
        total: Tensor = self.loss(scores, labels)
        if auxiliary is not None:
            small = F.interpolate(
                labels[:, None].float(), size=auxiliary.shape[-2:], mode="nearest-exact"
            )
            total = total + weight * self.loss(auxiliary, small[:, 0].long())
        if self.teacher is not None:
            with torch.no_grad(), self.autocast():
                opinion = self.teacher(images)
            distance = distillation_loss(scores, opinion, labels, self.recipe.temperature)
            total = total + self.recipe.teacher_weight * distance
        return total

    def autocast(self) -> AbstractContextManager[Any]:
        """bfloat16 arithmetic where the device has units for it."""
        if self.device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.autocast(self.device.type, torch.bfloat16) if fast else nullcontext()

    def validate(self) -> dict[str, Any]:
        """Score the averaged weights; keep them when they are the best so far."""
        model = on_device(build_model(self.model_name, self.classes.num_classes), self.device)
        model.load_state_dict(self.average.state)
        with self.autocast():
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
        state = load_checkpoint(self.folder / LAST, self.model_name, self.classes)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.updates, self.average.even_updates, averaged = state["average"]
        self.average.state = {key: value.to(self.device) for key, value in averaged.items()}
        self.epoch, self.step, self.elapsed_s = state["epoch"], state["step"], state["elapsed_s"]
        self.miou = state["miou"]
        self.best_epoch, self.best_miou = state["best"]

    def start_from(self, weights: Path) -> None:
        """Take weights of the same network instead of random ones.

        Raises:
            ModelError: they are missing, damaged, or of other classes.
            UsageError: they are of another network.
        """
        model, meta = load_weights(weights, self.classes)
        if meta["model"] != self.model_name:
            raise UsageError(
                f"{weights} holds {meta['model']}: use --model {meta['model']}, or other weights"
            )
        self.model.load_state_dict(model.state_dict())
        self.average = AveragedWeights(self.model, self.recipe.ema_decay)

    def _log(self, entry: dict[str, Any]) -> None:
        line = {"epoch": self.epoch, "step": self.step, "elapsed_s": round(self.elapsed_s, 1)}
        line |= entry
        write_text(self.folder / "log.jsonl", json.dumps(line) + "\n", mode="a")
        if self.board is not None:
            self.board.write(line)

    def _progress(self, loss: float, rate: float) -> Progress:
        return Progress(
            self.epoch,
            self.step,
            self.fraction,
            loss,
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
        self._loss_of = trainer.loss_of

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self._loss_of(self.model, images, labels)


def on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move a network, in the layout in which convolutions are fast, on the CPU as on a GPU."""
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


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


def _is_out_of_memory(exc: RuntimeError) -> bool:
    text = str(exc)
    return isinstance(exc, torch.OutOfMemoryError) or "can't allocate memory" in text
