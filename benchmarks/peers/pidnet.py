"""PIDNet-S (Xu, Xiong, Bhattacharyya 2023), to be timed: its layers, without its weights.

A detail branch, a deep branch that feeds it, and one for boundaries, which weighs the two. Scores
come out at an eighth of the resolution. In inference form: without the two auxiliary heads.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _unit(c_in: int, c_out: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution and batch normalisation."""
    return nn.Sequential(
        nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(c_out)
    )


def _before(c_in: int, c_out: int, kernel: int = 1, groups: int = 1) -> nn.Sequential:
    """Batch normalisation, ReLU, convolution."""
    return nn.Sequential(
        nn.BatchNorm2d(c_in),
        nn.ReLU(inplace=True),
        nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, groups=groups, bias=False),
    )


def _like(x: Tensor, other: Tensor) -> Tensor:
    return F.interpolate(x, size=other.shape[-2:], mode="bilinear", align_corners=False)


class _Residual(nn.Module):
    """Units around a shortcut."""

    def __init__(self, body: nn.Sequential, shortcut: nn.Module, relu: bool) -> None:
        super().__init__()
        self.body, self.shortcut, self.relu = body, shortcut, relu

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x) + self.shortcut(x)
        return F.relu(y) if self.relu else y


def _basic(c_in: int, c_out: int, stride: int = 1, *, relu: bool = True) -> nn.Module:
    """Two 3x3 convolutions (He et al. 2016)."""
    body = nn.Sequential(_unit(c_in, c_out, 3, stride), nn.ReLU(inplace=True), _unit(c_out, c_out))
    same = c_in == c_out and stride == 1
    return _Residual(body, nn.Identity() if same else _unit(c_in, c_out, 1, stride), relu)


def _basics(c_in: int, c_out: int, count: int, stride: int = 1) -> nn.Sequential:
    """Basic blocks; the last one ends without ReLU."""
    return nn.Sequential(
        *(
            _basic(c_out if i else c_in, c_out, 1 if i else stride, relu=i < count - 1)
            for i in range(count)
        )
    )


def _bottlenecks(c_in: int, planes: int, count: int, stride: int = 1) -> nn.Sequential:
    """1x1, 3x3 and 1x1 convolutions to twice the planes; the last block ends without ReLU."""
    blocks = []
    for i in range(count):
        body = nn.Sequential(
            _unit(c_in, planes, 1),
            nn.ReLU(inplace=True),
            _unit(planes, planes, 3, 1 if i else stride),
            nn.ReLU(inplace=True),
            _unit(planes, 2 * planes, 1),
        )
        same = c_in == 2 * planes and (i or stride == 1)
        shortcut = nn.Identity() if same else _unit(c_in, 2 * planes, 1, 1 if i else stride)
        blocks.append(_Residual(body, shortcut, relu=i < count - 1))
        c_in = 2 * planes
    return nn.Sequential(*blocks)


class _PixelAttention(nn.Module):
    """Takes from the deep branch where both agree (Pag)."""

    def __init__(self, channels: int, mid: int) -> None:
        super().__init__()
        self.key, self.query = _unit(channels, mid, 1), _unit(channels, mid, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        agree: Tensor = (self.key(x) * _like(self.query(y), x)).sum(1, keepdim=True)
        alike = torch.sigmoid(agree)
        return (1 - alike) * x + alike * _like(y, x)


class _Pyramid(nn.Module):
    """Pooled context at five scales, side by side (PAPPM)."""

    def __init__(self, c_in: int, branch: int, c_out: int) -> None:
        super().__init__()
        self.whole = _before(c_in, branch)
        pools = [nn.AvgPool2d(k, s, p) for k, s, p in ((5, 2, 2), (9, 4, 4), (17, 8, 8))]
        self.scales = nn.ModuleList(
            nn.Sequential(pool, _before(c_in, branch)) for pool in (*pools, nn.AdaptiveAvgPool2d(1))
        )
        self.process = _before(4 * branch, 4 * branch, 3, groups=4)
        self.compression = _before(5 * branch, c_out)
        self.shortcut = _before(c_in, c_out)

    def forward(self, x: Tensor) -> Tensor:
        whole = self.whole(x)
        scales = [_like(scale(x), x) + whole for scale in self.scales]
        mixed = self.process(torch.cat(scales, 1))
        y: Tensor = self.compression(torch.cat([whole, mixed], 1)) + self.shortcut(x)
        return y


class _LightBag(nn.Module):
    """Details where a boundary is, context elsewhere (Light-Bag)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.detail, self.context = _unit(channels, channels, 1), _unit(channels, channels, 1)

    def forward(self, detail: Tensor, context: Tensor, boundary: Tensor) -> Tensor:
        edge = torch.sigmoid(boundary)
        y: Tensor = self.detail((1 - edge) * context + detail) + self.context(
            context + edge * detail
        )
        return y


class PIDNetS(nn.Module):
    """PIDNet-S: 7.6 M parameters with 19 classes, 47.6 G products at 1024x2048.

    Args:
        num_classes: channels of the class scores.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        p = 32
        relu = nn.ReLU(inplace=True)
        self.stem = nn.Sequential(_unit(3, p, 3, 2), relu, _unit(p, p, 3, 2), relu)
        self.layer1 = _basics(p, p, 2)
        self.layer2 = _basics(p, 2 * p, 2, 2)  # 1/8
        self.layer3 = _basics(2 * p, 4 * p, 3, 2)
        self.layer4 = _basics(4 * p, 8 * p, 3, 2)
        self.layer5 = _bottlenecks(8 * p, 8 * p, 2, 2)  # 1/64
        self.compression3, self.compression4 = _unit(4 * p, 2 * p, 1), _unit(8 * p, 2 * p, 1)
        self.pag3, self.pag4 = _PixelAttention(2 * p, p), _PixelAttention(2 * p, p)
        self.detail3, self.detail4 = _basics(2 * p, 2 * p, 2), _basics(2 * p, 2 * p, 2)
        self.detail5 = _bottlenecks(2 * p, 2 * p, 1)
        self.boundary3 = _basics(2 * p, p, 1)
        self.boundary4 = _bottlenecks(p, p, 1)
        self.boundary5 = _bottlenecks(2 * p, 2 * p, 1)
        self.difference3, self.difference4 = _unit(4 * p, p), _unit(8 * p, 2 * p)
        self.pyramid = _Pyramid(16 * p, 96, 4 * p)
        self.bag = _LightBag(4 * p)
        self.head = nn.Sequential(
            _before(4 * p, 128, 3),
            nn.BatchNorm2d(128),
            nn.ReLU(inplace=True),
            nn.Conv2d(128, num_classes, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, num_classes, H/8, W/8) scores."""
        x = F.relu(self.layer2(F.relu(self.layer1(self.stem(x)))))
        detail, boundary = self.detail3(x), self.boundary3(x)
        x = F.relu(self.layer3(x))
        detail = self.pag3(detail, self.compression3(x))
        boundary = boundary + _like(self.difference3(x), boundary)
        x = F.relu(self.layer4(x))
        detail, boundary = self.detail4(F.relu(detail)), self.boundary4(F.relu(boundary))
        detail = self.pag4(detail, self.compression4(x))
        boundary = boundary + _like(self.difference4(x), boundary)
        detail, boundary = self.detail5(F.relu(detail)), self.boundary5(F.relu(boundary))
        context = _like(self.pyramid(self.layer5(x)), detail)
        y: Tensor = self.head(self.bag(detail, context, boundary))
        return y
