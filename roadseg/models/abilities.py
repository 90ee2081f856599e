"""What some networks can do and others cannot: each says so by its attributes."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, TypeGuard

from torch import Tensor, nn


class AuxiliaryHead(Protocol):
    """A network with a second head, which shortens the path to the loss while it trains."""

    auxiliary: nn.Module

    def forward_with_auxiliary(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scores as `forward` gives them, and coarser ones of the second head."""


def has_auxiliary_head(model: nn.Module) -> TypeGuard[AuxiliaryHead]:
    """Whether a network is an `AuxiliaryHead`."""
    return hasattr(model, "forward_with_auxiliary")


class PretrainedEncoder(Protocol):
    """A network whose encoder can start from ImageNet weights that others made."""

    encoder: nn.Module

    def load_encoder(self, path: Path) -> None:
        """Start from the weights of a file, in place.

        Raises:
            ModelError: the file is missing, damaged, or of another network.
        """


def has_pretrained_encoder(model: nn.Module) -> TypeGuard[PretrainedEncoder]:
    """Whether a network is a `PretrainedEncoder`."""
    return hasattr(model, "load_encoder")


def classifier_bias(model: nn.Module) -> Tensor | None:
    """What a network adds to its class scores, (C,); None where its last layers have no such sum.

    It is the bias of its `classifier`, which SegNet and its kin end in.
    """
    classifier = getattr(model, "classifier", None)
    bias = getattr(classifier, "bias", None)
    return bias if isinstance(classifier, nn.Conv2d | nn.ConvTranspose2d) else None
