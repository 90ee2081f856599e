"""Layers of the fast PyTorch path on CUDA: few launches, frames in, labels out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roadseg.backends.torch_cuda.ops import Operations, ResponseNorm

Activation = Literal["none", "relu", "add_relu"]

Timer = Callable[[Callable[[], Tensor]], float]
"""Milliseconds that one call takes on the device."""

# Tensor cores multiply blocks of 8 FP16 channels; cuDNN copies whatever comes in other counts.
_CHANNELS = 8
# Two ways of summing up in FP16 differ by some roundings of the largest value.
_TOLERANCE = 0.02


def pad_channels(count: int) -> int:
    """The next multiple of 8."""
    return -(-count // _CHANNELS) * _CHANNELS


class FrameInput(nn.Module):
    """Frames to the first convolution's input.

    Args:
        operations: who computes it.
        norm: the network's local response normalisation of 0..255 values; None: values / 256, which
            FP16 holds exactly.
    """

    def __init__(self, operations: Operations, norm: ResponseNorm | None) -> None:
        super().__init__()
        self.operations = operations
        self.norm = norm
        # Tells dtype in a module that has no weights of its own.
        self.register_buffer("like", torch.zeros(1), persistent=False)

    def forward(self, frames: Tensor) -> Tensor:
        """(N, H, W, 3) uint8 BGR to (N, 8, H, W) float channels-last; channels 3 to 7 are 0."""
        dtype = self.get_buffer("like").dtype
        return self.operations.frame(frames, pad_channels(3), dtype, self.norm)


class IndexedPool(nn.Module):
    """`MaxPoolIndices` with an index map of the operations' own kind."""

    def __init__(self, operations: Operations) -> None:
        super().__init__()
        self.operations = operations

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) to (N, C, ceil(H/2), ceil(W/2)) maxima and their places."""
        return self.operations.pool(x)


class IndexedUnpool(nn.Module):
    """`IndexUnpool` to a size that is known beforehand."""

    def __init__(self, operations: Operations, out_hw: tuple[int, int]) -> None:
        super().__init__()
        self.operations = operations
        self.out_hw = out_hw

    def forward(self, x: Tensor, index: Tensor) -> Tensor:
        """(N, C, h, w) and the places to (N, C, H, W)."""
        return self.operations.unpool(x, index, self.out_hw)


class ScoreLabels(nn.Module):
    """Class scores to labels.

    Args:
        operations: who computes it.
        classes: how many of the channels are scores of one pixel.
        block: side of the square of pixels whose scores each position holds, row by row: 2 for
            a head that was a 2x2 transposed convolution with stride 2, else 1.
        out_hw: height and width of the labels; what lies beyond is cut off.
    """

    def __init__(
        self, operations: Operations, classes: int, block: int, out_hw: tuple[int, int]
    ) -> None:
        super().__init__()
        self.operations = operations
        self.classes = classes
        self.block = block
        self.out_hw = out_hw

    def forward(self, scores: Tensor) -> Tensor:
        """(N, >= block*block*classes, h, w) to (N, H, W) uint8."""
        return self.operations.labels(scores, self.classes, self.block, self.out_hw)


class Convolution(nn.Module):
    """A convolution with all that follows it, computed in the fastest way found.

    The ways are `separate` (PyTorch's own operations), `fused` (one cuDNN kernel with bias,
    addition and ReLU) and `gemm` (1x1 convolutions as a matrix product). `tune` measures them.

    Args:
        layer: weights, bias and geometry; zero padding.
        activation: what follows: ReLU, or the addition of another map and ReLU.

    Attributes:
        way: how `forward` computes.
        timer: while set, `forward` measures every way that gives the same result and keeps the
            fastest.
        times_ms: what it measured; ways that gave another result are absent.
    """

    def __init__(self, layer: nn.Conv2d, activation: Activation) -> None:
        super().__init__()
        assert layer.padding_mode == "zeros"
        assert not isinstance(layer.padding, str)
        self.weight = nn.Parameter(layer.weight.detach().clone(), requires_grad=False)
        self.bias: nn.Parameter | None = None
        if layer.bias is not None or activation != "none":
            # The fused kernel wants one, and would make one at every call.
            bias = torch.zeros(layer.out_channels) if layer.bias is None else layer.bias.detach()
            self.bias = nn.Parameter(bias.clone(), requires_grad=False)
        self.stride = list(layer.stride)
        self.padding = list(layer.padding)
        self.dilation = list(layer.dilation)
        self.groups = layer.groups
        self.activation: Activation = activation
        self.way = "separate"
        self.timer: Timer | None = None
        self.times_ms: dict[str, float] = {}

    @property
    def pointwise(self) -> bool:
        """Whether it is a product with one matrix."""
        one = [1, 1]
        plain = self.stride == one and self.padding == [0, 0] and self.groups == 1
        return plain and list(self.weight.shape[2:]) == one

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """(N, C, H, W), and the map to add of the result's shape, to (N, C', H', W')."""
        if self.timer is not None:
            self._tune(x, z, self.timer)
        return self._ways(x)[self.way](x, z)

    def _ways(self, x: Tensor) -> dict[str, Callable[[Tensor, Tensor | None], Tensor]]:
        ways: dict[str, Callable[[Tensor, Tensor | None], Tensor]] = {"separate": self._separate}
        if self.activation != "none" and x.is_cuda and x.dtype == torch.float16:
            ways["fused"] = self._fused
        # A whole-picture branch has one position per frame: no product worth a name.
        if self.pointwise and x.shape[2] * x.shape[3] > 1:
            ways["gemm"] = self._gemm
        return ways

    def _separate(self, x: Tensor, z: Tensor | None) -> Tensor:
        return self._finish(
            F.conv2d(
                x, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups
            ),
            z,
        )

    def _gemm(self, x: Tensor, z: Tensor | None) -> Tensor:
        n, channels, h, w = x.shape
        rows = x.permute(0, 2, 3, 1).reshape(-1, channels)
        matrix = self.weight.flatten(1).t()
        y = rows @ matrix if self.bias is None else torch.addmm(self.bias, rows, matrix)
        return self._finish(y.view(n, h, w, -1).permute(0, 3, 1, 2), z)

    def _fused(self, x: Tensor, z: Tensor | None) -> Tensor:
        geometry = (self.stride, self.padding, self.dilation, self.groups)
        if z is None:
            return torch.cudnn_convolution_relu(x, self.weight, self.bias, *geometry)
        return torch.cudnn_convolution_add_relu(x, self.weight, z, 1.0, self.bias, *geometry)

    def _finish(self, y: Tensor, z: Tensor | None) -> Tensor:
        if z is not None:
            y = y.add_(z)
        return y.relu_() if self.activation.endswith("relu") else y

    def _tune(self, x: Tensor, z: Tensor | None, timer: Timer) -> None:
        ways = self._ways(x)
        reference = self._separate(x, z)
        scale = float(reference.float().abs().max()) or 1.0
        self.times_ms = {}
        for name, way in ways.items():
            # Most likely the block of memory that the result gets: what it does not write, or
            # reads although it should not, shows as NaN.
            torch.full_like(reference, float("nan"))
            try:
                result = way(x, z)
            except RuntimeError:
                if name == "separate":
                    raise
                continue  # This cuDNN has no kernel for it.
            # Written so that NaN does not pass.
            if not float((result - reference).float().abs().max()) <= _TOLERANCE * scale:
                continue
            self.times_ms[name] = timer(lambda way=way: way(x, z))  # type: ignore[misc]
        self.way = min(self.times_ms, key=self.times_ms.__getitem__, default="separate")
