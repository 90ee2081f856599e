"""How a network in training is judged: its scores, its statistics, and which weights are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from roadseg.core.errors import ModelError
from roadseg.core.geometry import network_size, postprocess, preprocess
from roadseg.core.labels import NUM_CLASSES
from roadseg.core.weights_file import read_header
from roadseg.metrics.confusion import ConfusionMatrix
from roadseg.models import build_model, load_weights, save_weights
from roadseg.training.class_bias import fit_class_bias
from roadseg.training.feed import LabelledFrame, TrainingData, to_batch
from roadseg.training.folder import BEST, UNBALANCED
from roadseg.training.objective import Objective, on_device
from roadseg.training.spec import RunSpec


class BestWeights:
    """Judges a run's averaged weights now and then; keeps the best, or the last, in its folder.

    Args:
        spec: of the run.
        data: what it is judged by.
        objective: whose precision it is judged in.
        device: where.

    Attributes:
        last_miou: of the last validation; NaN before it.
        miou, epoch: of the weights kept; NaN and 0 before the first.
    """

    def __init__(
        self, spec: RunSpec, data: TrainingData, objective: Objective, device: torch.device
    ) -> None:
        self._spec, self._data, self._objective, self._device = spec, data, objective, device
        self.last_miou = self.miou = math.nan
        self.epoch = 0
        self._balanced_miou = math.nan  # of the file, where it has class biases

    def restore(self, epoch: int, miou: float) -> None:
        """Go on from what a checkpoint tells, and from files, which may be ahead of it.

        Args:
            epoch, miou: of the best weights, without class biases.
        """
        self.epoch, self.miou = epoch, miou
        if self._spec.keep_last:
            return
        for name in (BEST, UNBALANCED):
            try:
                meta = read_header(self._spec.output / name).meta
            except ModelError:  # removed, or never written
                continue
            if "class_bias" in meta:
                self._balanced_miou = meta["validation_miou"]
            elif not meta["validation_miou"] <= self.miou:
                self.epoch, self.miou = meta["epoch"], meta["validation_miou"]

    def judge(self, state: Mapping[str, Tensor], epoch: int) -> dict[str, Any]:
        """Score weights; keep them when they are the best so far, or the run keeps its last.

        Args:
            state: of the network.
            epoch: its number, from 1.

        Returns:
            What the log tells of them.
        """
        spec, recipe, classes = self._spec, self._spec.recipe, self._spec.classes
        model = on_device(build_model(spec.model, classes.num_classes), self._device)
        model.load_state_dict(state)
        with self._objective.autocast():
            if recipe.statistics_batches:
                recompute_statistics(
                    model, self._data.frames, recipe.batch_size, recipe.statistics_batches
                )
            matrix = confusion(model, self._data.validation, classes.num_classes)
        self.last_miou = float(matrix.miou)
        if spec.keep_last or not self.last_miou <= self.miou:
            self.miou, self.epoch = self.last_miou, epoch
            # Where class biases have brought more than this, they may bring these more as well.
            beside = not spec.keep_last and self.miou < self._balanced_miou
            if not beside:
                self._balanced_miou = math.nan
                (spec.output / UNBALANCED).unlink(missing_ok=True)
            save_weights(
                spec.output / (UNBALANCED if beside else BEST),
                model,
                spec.model,
                classes=classes,
                recipe=recipe.name,
                epoch=epoch,
                validation_miou=self.miou,
            )
        return {
            "miou": self.last_miou,
            "global_accuracy": float(matrix.global_accuracy),
            "class_accuracy": float(matrix.class_accuracy),
            "iou": [round(float(v), 4) for v in matrix.per_class_iou],
        }

    def balance(self) -> float | None:
        """Give the weights that were kept their class biases; see `Recipe.class_bias`.

        They are replaced unless validation falls; a run that keeps its last weights does not ask.
        Weights that came after others had theirs replace those, unless validation falls.

        Returns:
            The mean IoU on validation with the biases; None where they have them already.

        Raises:
            ModelError: the network has no bias to add them to.
            SinkError: the folder cannot be written.
        """
        spec, path = self._spec, self._spec.output / BEST
        later = spec.output / UNBALANCED
        is_later = later.exists()
        model, meta = load_weights(later if is_later else path, spec.classes)
        if "class_bias" in meta:
            self.miou = meta["validation_miou"]
            return None
        on_device(model, self._device)
        with self._objective.autocast():
            bias = fit_class_bias(model, self._data.frames, seed=spec.seed)
            matrix = confusion(model, self._data.validation, spec.classes.num_classes)
        found = float(matrix.miou)
        least = self._balanced_miou if is_later else self.miou
        if spec.keep_last or not found < least:
            del meta["model"]
            self.miou = found
            meta |= {"validation_miou": found, "class_bias": [round(float(v), 4) for v in bias]}
            save_weights(path, model, spec.model, classes=spec.classes, **meta)
        elif is_later:
            kept = read_header(path).meta
            self.miou, self.epoch = kept["validation_miou"], kept["epoch"]
        later.unlink(missing_ok=True)
        return found


@torch.inference_mode()
def confusion(
    model: nn.Module, frames: Sequence[LabelledFrame], num_classes: int = NUM_CLASSES
) -> ConfusionMatrix:
    """Label every frame and compare at the labels' own resolution; `model` is left in eval mode."""
    device = next(model.parameters()).device
    model.eval()
    matrix = ConfusionMatrix(num_classes)
    for image, labels in frames:
        resized, geometry = preprocess(image, network_size(labels.shape, budget=labels.size))
        images, _ = to_batch([(resized, labels)], device)
        ids = model(images).argmax(1)[0].to(torch.uint8)
        matrix.update(postprocess(ids.cpu().numpy(), geometry).ids, labels)
    return matrix


@torch.no_grad()
def recompute_statistics(
    model: nn.Module, frames: Sequence[LabelledFrame], batch_size: int, batches: int
) -> None:
    """Batch-norm statistics over whole training frames (section 4 of the paper), in place.

    Where frames differ in size, those of a batch are resized to its first one's.
    """
    device = next(model.parameters()).device
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.reset_running_stats()
            layer.momentum = None  # cumulative: every batch counts alike
    model.train()
    for start in range(0, batch_size * batches, batch_size):
        chosen = [frames[i % len(frames)] for i in range(start, start + batch_size)]
        first_hw = (chosen[0][1].shape[0], chosen[0][1].shape[1])
        same = [(preprocess(image, first_hw)[0], chosen[0][1]) for image, _ in chosen]
        images, _ = to_batch(same, device)
        model(images)
