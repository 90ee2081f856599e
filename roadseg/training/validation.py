"""Scores of a network in training, and the statistics that it is scored with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from roadseg.core.geometry import network_size, postprocess, preprocess
from roadseg.core.labels import NUM_CLASSES
from roadseg.metrics.confusion import ConfusionMatrix
from roadseg.training.feed import LabelledFrame, to_batch

__all__ = ["confusion", "recompute_statistics"]


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
