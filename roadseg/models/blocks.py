"""Layers that the networks share."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def conv_bn(
    c_in: int, c_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution and batch normalisation; same size out when the stride is 1."""
    padding = dilation * (kernel // 2)
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(c_out),
    )


def conv_bn_relu(
    c_in: int, c_out: int, kernel: int = 3, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU: SegNet's unit (section 3)."""
    return nn.Sequential(*conv_bn(c_in, c_out, kernel, stride, dilation), nn.ReLU(inplace=True))


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al. 2016, figure 2).

    The shortcut is a 1x1 convolution where the channel count changes.
    """

    def __init__(self, c_in: int, c_out: int, dilation: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_bn_relu(c_in, c_out, dilation=dilation), conv_bn(c_out, c_out, dilation=dilation)
        )
        self.shortcut = nn.Identity() if c_in == c_out else conv_bn(c_in, c_out, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, H, W) to (N, c_out, H, W), non-negative."""
        return F.relu(self.body(x) + self.shortcut(x))


class ContextBlock(nn.Module):
    """Local features beside the mean of the whole picture, fused by a 3x3 convolution.

    The picture-level branch is that of ParseNet (Liu et al. 2015): what kind of scene this is,
    told to every position.
    """

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.local = conv_bn_relu(c_in, c_out, kernel=1)
        # No batch normalisation here: over 1x1 maps its statistics would be those of the batch.
        self.scene = nn.Sequential(nn.Conv2d(c_in, c_out, 1), nn.ReLU(inplace=True))
        self.fuse = conv_bn_relu(2 * c_out, c_out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, c_in, H, W) to (N, c_out, H, W)."""
        local = self.local(x)
        scene = self.scene(x.mean((2, 3), keepdim=True)).expand_as(local)
        fused: Tensor = self.fuse(torch.cat([local, scene], dim=1))
        return fused


def initialise(module: nn.Module) -> None:
    """He initialisation of every convolution (section 3.2 of the paper), in place."""
    for layer in module.modules():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
