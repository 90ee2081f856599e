"""SegNet in miniature."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor, nn

from roadseg.core.labels import NUM_CLASSES
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices

Array = npt.NDArray[Any]


class TinySegNet(nn.Module):
    """Two pools, two unpools, one skip connection, batch normalisation: SegNet in miniature."""

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        super().__init__()
        self.first = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        )
        self.second = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.fourth = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.classifier = nn.Conv2d(8, num_classes, 3, padding=1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()

    def forward(self, x: Tensor) -> Tensor:
        full = self.first(x)
        pooled, place_full = self.pool(full)
        half = self.second(pooled)
        pooled, place_half = self.pool(half)
        y = self.third(self.unpool(pooled, place_half, half) + half)
        scores: Tensor = self.classifier(self.fourth(self.unpool(y, place_full, full)))
        return scores


def randomise(model: nn.Module, seed: int = 0) -> nn.Module:
    """Inference mode with batch statistics unlike those of a fresh network."""
    generator = torch.Generator().manual_seed(seed)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(0, 0.1, generator=generator)
            layer.running_var.uniform_(0.5, 1.5, generator=generator)
            layer.weight.data.uniform_(0.5, 1.5, generator=generator)
            layer.bias.data.normal_(0, 0.1, generator=generator)
    return model.eval()
