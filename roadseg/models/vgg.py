"""VGG16's convolutions: the encoder of SegNet and of the large networks it is compared with."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from roadseg.core.errors import ModelError
from roadseg.models.blocks import conv_bn_relu
from roadseg.models.encoder_weights import read_state

VGG16_GROUPS = (
    (3, 64, 64),
    (64, 128, 128),
    (128, 256, 256, 256),
    (256, 512, 512, 512),
    (512, 512, 512, 512),
)
"""Channels of each group of convolutions, input first; a 2x2 pool follows each group."""

# What torchvision's weights expect of RGB in 0..1: less the mean, over the deviation.
_STD_BGR = (0.225, 0.224, 0.229)


def vgg_group(channels: tuple[int, ...], dropout: float = 0.0, dilation: int = 1) -> nn.Sequential:
    """3x3 convolution, batch normalisation, ReLU for each pair of neighbouring channel counts.

    VGG16 as published has no batch normalisation; with it, the networks here train from scratch.
    """
    layers: list[nn.Module] = [conv_bn_relu(a, b, dilation=dilation) for a, b in pairwise(channels)]
    if dropout > 0:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers)


class WithVGG16Encoder:
    """A network whose `encoder` VGG16's weights fit."""

    encoder: nn.ModuleList

    def load_encoder(self, path: Path) -> None:
        """Start from VGG16's ImageNet weights; see `load_vgg16`."""
        load_vgg16(self.encoder, path)


def load_vgg16(encoder: nn.Module, path: Path) -> None:
    """Start an encoder from VGG16's ImageNet weights, in place.

    The colour order and the deviation of torchvision's input are folded into the first
    convolution. Its mean, and the biases of VGG16 without batch normalisation, are constants
    that the batch normalisation behind each convolution takes out again.

    Args:
        encoder: holds VGG16's 13 convolutions in their order, each with its batch normalisation.
        path: torchvision's `vgg16` or `vgg16_bn` weights, a `.pth` file.

    Raises:
        ModelError: the file is missing, damaged, or of another network.
    """
    state = read_state(path, "give torchvision's vgg16 or vgg16_bn weights")
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    keys = [k[: -len(".weight")] for k, v in state.items() if _is_convolution(k, v)]
    shapes = [tuple(state[f"{key}.weight"].shape) for key in keys]
    if shapes != [tuple(c.weight.shape) for c in convolutions]:
        raise ModelError(
            f"{path} holds {len(keys)} convolutions that are not VGG16's 13",
            fix="give torchvision's vgg16 or vgg16_bn weights",
        )
    with torch.no_grad():
        for position, (key, convolution, norm) in enumerate(
            zip(keys, convolutions, norms, strict=True)
        ):
            weight = state[f"{key}.weight"].float()
            if position == 0:
                weight = weight.flip(1) / torch.tensor(_STD_BGR)[None, :, None, None]
            convolution.weight.copy_(weight)
            head, _, index = key.rpartition(".")
            after = f"{head}.{int(index) + 1}"
            if f"{after}.running_mean" in state:
                for name in ("weight", "bias", "running_mean", "running_var"):
                    getattr(norm, name).copy_(state[f"{after}.{name}"])


def _is_convolution(key: str, value: Tensor) -> bool:
    return key.startswith("features.") and key.endswith(".weight") and value.ndim == 4
