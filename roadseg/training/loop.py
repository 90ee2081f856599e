"""The training loop: crops -> scores -> loss -> step, validated, checkpointed, resumable."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.data import CamVid
from roadseg.errors import ModelError, SinkError, UsageError
from roadseg.evaluation.confusion import ConfusionMatrix
from roadseg.labels import NUM_CLASSES
from roadseg.models import SegNetLite, build_model, load_weights, save_weights
from roadseg.postprocess import postprocess
from roadseg.preprocess import network_size, preprocess
from roadseg.training.augment import augment
from roadseg.training.checkpoint import AveragedWeights, load_checkpoint, save_checkpoint
from roadseg.training.losses import SegmentationLoss, class_weights
from roadseg.training.recipes import Recipe
from roadseg.training.record import check_resumption, run_record, write_config, write_text
from roadseg.types import Image, Labels

__all__ = ["Progress", "TrainingResult", "train"]

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


@dataclass(frozen=True)
class TrainingResult:
    """What a finished run reached: its best validated weights and where they are."""

    weights: Path
    epochs: int
    best_epoch: int
    best_miou: float
    elapsed_s: float


def train(
    model_name: str,
    data: CamVid,
    validation: CamVid,
    recipe: Recipe,
    folder: Path,
    *,
    extra: CamVid | None = None,
    init: Path | None = None,
    resume: bool = False,
    time_budget_s: float | None = None,
    seed: int = 0,
    compile_step: bool = False,
    on_step: Callable[[Progress], None] | None = None,
) -> TrainingResult:
    """Train a network and keep the weights that validate best.

    `folder` receives `last.ckpt` (everything needed to go on), `best.pt` (averaged weights of
    the best validation, FP16), `config.json` and `log.jsonl`. An interruption loses the epoch
    under way at most.

    Args:
        model_name: a name in `roadseg.models.MODEL_NAMES`.
        data: training frames, all kept in memory.
        validation: frames that choose the snapshot; never trained on.
        recipe: every number of the run.
        folder: where the run lives; created.
        extra: further training frames, mixed in at the recipe's `extra_share`.
        init: a `.pt` file whose weights the run starts from, instead of random ones.
        resume: go on from `folder/last.ckpt`.
        time_budget_s: ends the schedule after that much training time, over all resumptions,
            instead of after `recipe.epochs`; the learning rate is planned to match.
        seed: of initialisation, order and augmentation.
        compile_step: fuse forward and loss with torch.compile; needs a C++ compiler.
        on_step: called after every step.

    Raises:
        UsageError: the folder holds a run and `resume` is false; `init` is of another network.
        ModelError: the checkpoint does not fit, or the loss is no longer finite.
        DataError: a frame or label is unusable.
        SinkError: the folder cannot be written.
    """
    record = run_record(model_name, recipe, seed, time_budget_s, len(extra) if extra else 0, init)
    if resume:
        record = check_resumption(folder, record)
    elif (folder / LAST).exists():
        raise UsageError(f"{folder} holds a run: go on with --resume or choose another --output")
    budget_s: float | None = record["time_budget_s"]
    trainer = _Trainer(model_name, data, validation, recipe, folder, extra, seed, budget_s)
    if resume:
        trainer.restore()
    elif init is not None:
        trainer.start_from(init)
    write_config(
        folder,
        record,
        {
            "compile": compile_step,
            "frames": len(trainer.frames),
            "device": str(trainer.device),
            "torch": torch.__version__,
        },
    )
    step = torch.compile(trainer.loss_of) if compile_step else trainer.loss_of
    while not trainer.finished:
        trainer.run_epoch(step, on_step)
    return trainer.result()


class _Trainer:
    def __init__(
        self,
        model_name: str,
        data: CamVid,
        validation: CamVid,
        recipe: Recipe,
        folder: Path,
        extra: CamVid | None,
        seed: int,
        time_budget_s: float | None,
    ) -> None:
        self.model_name, self.recipe, self.folder, self.seed = model_name, recipe, folder, seed
        self.time_budget_s = time_budget_s
        self.frames = [data[i] for i in range(len(data))]
        self.extra = [extra[i] for i in range(len(extra))] if extra is not None else []
        self.validation = [validation[i] for i in range(len(validation))]
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(seed)
        self.model = _on_device(build_model(model_name), self.device)
        counts = sum(np.bincount(y.ravel(), minlength=256)[:NUM_CLASSES] for _, y in self.frames)
        weights = class_weights(np.asarray(counts), recipe.class_weighting)
        self.loss = SegmentationLoss(weights, recipe.jaccard_weight).to(self.device)
        self.optimizer = _optimizer(self.model, recipe)
        self.average = AveragedWeights(self.model, recipe.ema_decay)
        self.epoch = self.step = self.best_epoch = 0
        self.elapsed_s = 0.0
        self.miou = self.best_miou = math.nan
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise SinkError(
                f"cannot create {folder} ({exc.strerror or exc}): choose another --output"
            ) from exc

    # -- the schedule ----------------------------------------------------------------------

    @property
    def extra_per_batch(self) -> int:
        return round(self.recipe.batch_size * self.recipe.extra_share) if self.extra else 0

    @property
    def steps_per_epoch(self) -> int:
        return max(1, len(self.frames) // (self.recipe.batch_size - self.extra_per_batch))

    @property
    def fraction(self) -> float:
        if self.time_budget_s is not None:
            return min(1.0, self.elapsed_s / self.time_budget_s)
        return min(1.0, self.step / (self.recipe.epochs * self.steps_per_epoch))

    @property
    def finished(self) -> bool:
        return self.fraction >= 1.0

    def learning_rate(self) -> float:
        recipe = self.recipe
        warm = (self.step + 1) / (1 + recipe.warmup_epochs * self.steps_per_epoch)
        fall: float = (1 - self.fraction) ** recipe.poly_power
        return recipe.learning_rate * min(1.0, warm) * fall

    # -- one epoch -------------------------------------------------------------------------

    def run_epoch(
        self,
        loss_of: Callable[[Tensor, Tensor], Tensor],
        on_step: Callable[[Progress], None] | None,
    ) -> None:
        self.model.train()
        losses = []
        for images, labels in self.batches():
            started = time.monotonic()
            rate = self.learning_rate()
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(images, labels)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            value = loss.item()
            if not math.isfinite(value):
                raise ModelError(
                    f"the loss is {value} at epoch {self.epoch}, step {self.step}: "
                    f"{self.folder / LAST} is the last good checkpoint; lower learning_rate"
                )
            self.optimizer.step()
            self.average.update(self.model)
            losses.append(value)
            self.step += 1
            self.elapsed_s += time.monotonic() - started
            if on_step is not None:
                on_step(
                    Progress(
                        self.epoch,
                        self.step,
                        self.fraction,
                        value,
                        rate,
                        self.miou,
                        self.best_miou,
                        self.elapsed_s,
                    )
                )
            if self.finished:
                break
        self.epoch += 1
        entry: dict[str, Any] = {"loss": float(np.mean(losses))}
        if self.epoch % self.recipe.validate_every == 0 or self.finished:
            entry |= self.validate()
        save_checkpoint(self.folder / LAST, self.state())
        self.log(entry)

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        # A generator of its own per epoch: a resumed run draws the very same crops.
        rng = np.random.default_rng((self.seed, self.epoch))
        order = rng.permutation(len(self.frames))
        own = self.recipe.batch_size - self.extra_per_batch
        for start in range(0, self.steps_per_epoch * own, own):
            started = time.monotonic()
            chosen = [self.frames[i % len(order)] for i in order[start : start + own]]
            chosen += (
                [self.extra[i] for i in rng.integers(len(self.extra), size=self.extra_per_batch)]
                if self.extra_per_batch
                else []
            )
            batch = self.stack(
                [
                    augment(x, y, self.recipe.crop_hw, self.recipe.augmentation, rng)
                    for x, y in chosen
                ]
            )
            self.elapsed_s += time.monotonic() - started
            yield batch

    def stack(self, crops: list[tuple[Image, Labels]]) -> tuple[Tensor, Tensor]:
        images = torch.from_numpy(np.stack([x for x, _ in crops])).to(self.device)
        labels = torch.from_numpy(np.stack([y for _, y in crops])).to(self.device)
        # (N, H, W, 3) permuted is channels-last already: no copy of the layout is made.
        return images.permute(0, 3, 1, 2).float().div_(255), labels.long()

    def loss_of(self, images: Tensor, labels: Tensor) -> Tensor:
        """Forward and loss of a batch, in bfloat16 where that is what the machine is fast at."""
        weight = self.recipe.auxiliary_weight
        with self.autocast():
            if weight > 0 and isinstance(self.model, SegNetLite):
                scores, auxiliary = self.model.forward_with_auxiliary(images)
            else:
                scores, auxiliary = self.model(images), None
        total: Tensor = self.loss(scores, labels)
        if auxiliary is not None:
            small = F.interpolate(
                labels[:, None].float(), size=auxiliary.shape[-2:], mode="nearest-exact"
            )
            total = total + weight * self.loss(auxiliary, small[:, 0].long())
        return total

    def autocast(self) -> AbstractContextManager[Any]:
        if self.device.type == "cuda":
            fast = torch.cuda.is_bf16_supported(including_emulation=False)
        else:
            fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return torch.autocast(self.device.type, torch.bfloat16) if fast else nullcontext()

    # -- validation ------------------------------------------------------------------------

    @torch.inference_mode()
    def validate(self) -> dict[str, Any]:
        """Score the averaged weights; keep them when they are the best so far."""
        model = _on_device(build_model(self.model_name), self.device)
        model.load_state_dict(self.average.state)
        model.eval()
        matrix = ConfusionMatrix()
        for image, labels in self.validation:
            resized, geometry = preprocess(image, network_size(labels.shape, budget=labels.size))
            images, _ = self.stack([(resized, labels)])
            with self.autocast():
                ids = model(images).argmax(1)[0].to(torch.uint8)
            matrix.update(postprocess(ids.cpu().numpy(), geometry).ids, labels)
        self.miou = float(matrix.miou)
        if not self.miou <= self.best_miou:
            self.best_miou, self.best_epoch = self.miou, self.epoch
            save_weights(
                self.folder / BEST,
                model,
                self.model_name,
                recipe=self.recipe.name,
                epoch=self.epoch,
                validation_miou=self.miou,
            )
        iou = [round(float(v), 4) for v in matrix.per_class_iou]
        return {"miou": self.miou, "global_accuracy": float(matrix.global_accuracy), "iou": iou}

    # -- state -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return {
            "model_name": self.model_name,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": (self.average.updates, self.average.state),
            "epoch": self.epoch,
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "miou": self.miou,
            "best": (self.best_epoch, self.best_miou),
            "torch_rng": torch.get_rng_state(),
        }

    def start_from(self, weights: Path) -> None:
        model, meta = load_weights(weights)
        if meta["model"] != self.model_name:
            raise UsageError(
                f"{weights} holds {meta['model']}: use --model {meta['model']}, or other weights"
            )
        self.model.load_state_dict(model.state_dict())
        self.average = AveragedWeights(self.model, self.recipe.ema_decay)

    def restore(self) -> None:
        state = load_checkpoint(self.folder / LAST, self.model_name)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.updates, averaged = state["average"]
        self.average.state = {key: value.to(self.device) for key, value in averaged.items()}
        self.epoch, self.step, self.elapsed_s = state["epoch"], state["step"], state["elapsed_s"]
        self.miou = state["miou"]
        self.best_epoch, self.best_miou = state["best"]
        torch.set_rng_state(state["torch_rng"])

    def log(self, entry: dict[str, Any]) -> None:
        line = {"epoch": self.epoch, "step": self.step, "elapsed_s": round(self.elapsed_s, 1)}
        write_text(self.folder / "log.jsonl", json.dumps(line | entry) + "\n", mode="a")

    def result(self) -> TrainingResult:
        return TrainingResult(
            self.folder / BEST, self.epoch, self.best_epoch, self.best_miou, self.elapsed_s
        )


def _on_device(model: nn.Module, device: torch.device) -> nn.Module:
    # Channels-last is the layout in which convolutions are fast, on the CPU as on a GPU.
    return model.to(device).to(memory_format=torch.channels_last)  # type: ignore[no-any-return,call-overload]


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Decaying batch-norm scales and biases only slows them down; it regularises convolutions.
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, recipe.learning_rate)
