"""What a step does to the weights: the optimiser, and the limits it is kept within."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from roadseg.training.recipes import Recipe


def build_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """The recipe's optimiser of a network's trained parameters."""
    # Decaying batch-norm scales and biases only slows them down; it regularises convolutions.
    trained = [p for p in model.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, recipe.learning_rate, momentum=recipe.momentum)
    return torch.optim.AdamW(groups, recipe.learning_rate)


def clip_gradients(model: nn.Module, limit: float) -> Tensor:
    """Scale all gradients down to a norm of `limit` together, where it is larger; in place.

    Nothing is read from the device. A `limit` of 0 leaves them as they are; their norm is measured
    all the same: it tells why a run went astray.

    Returns:
        The norm before that, a scalar on the device.
    """
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients, foreach=True)
    if limit > 0:
        nn.utils.clip_grads_with_norm_(model.parameters(), limit, norm, foreach=True)
    return norm


@torch.no_grad()
def centre_scores(model: nn.Module, num_classes: int) -> None:
    """Take out of a network's scores what they have in common, in the layer that makes them.

    No loss and no label depends on what is added to all scores of a pixel alike, so nothing keeps
    it small, and Adam, which gives every weight a rate of its own, lets it grow. It takes up the
    digits of half-precision scores: docs/training.md, "Why the recipe gpu clips". Networks whose
    scores several layers make are left as they are.

    Args:
        model: its `classifier`, and segnet-lite's `auxiliary`, are changed in place.
        num_classes: channels of the scores.
    """
    for name in ("classifier", "auxiliary"):
        layer = getattr(model, name, None)
        if not isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if layer.out_channels != num_classes or layer.groups != 1:
            continue
        classes = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
        layer.weight.sub_(layer.weight.mean(classes, keepdim=True))
        if layer.bias is not None:
            layer.bias.sub_(layer.bias.mean())
