"""What the fast PyTorch path on CUDA is made of beside convolutions, and its plain PyTorch form.

`TorchOperations` runs anywhere and is the reference; `roadseg.backends.torch_cuda.kernels` has the
form with roadseg's own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

FRAME_SCALE = 1.0 / 256.0
"""What 0..255 is multiplied with: a power of two, so that FP16 holds every value exactly."""


@dataclass(frozen=True, slots=True)
class ResponseNorm:
    """A local response normalisation whose window spans all channels of a colour picture.

    Each value v becomes v / (k + alpha / size * sum of squares) ** beta, as
    `torch.nn.LocalResponseNorm` has it; v in 0..255.
    """

    size: int
    alpha: float
    beta: float
    k: float


class Operations(Protocol):
    """The operations; tensors are (N, C, H, W) unless said otherwise."""

    @property
    def name(self) -> str:
        """Who computes, for reports."""

    def frame(
        self, frames: Tensor, channels: int, dtype: torch.dtype, norm: ResponseNorm | None
    ) -> Tensor:
        """(N, H, W, 3) uint8 to (N, channels, H, W) float channels-last, zeros from channel 3 on.

        Values are multiplied with `FRAME_SCALE`, or normalised by `norm`.
        """

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """2x2 maxima (ceil at odd sides), and the index map that `unpool` takes."""

    def unpool(self, x: Tensor, index: Tensor, out_hw: tuple[int, int]) -> Tensor:
        """Values back at their places, zeros elsewhere."""

    def labels(self, scores: Tensor, classes: int, block: int, out_hw: tuple[int, int]) -> Tensor:
        """Labels (N, H, W) uint8 of the highest score, the first of equal ones.

        Channel (i * block + j) * classes + c of a position holds the score for class c of the
        pixel i rows and j columns into the position's square of block x block pixels. Channels
        beyond are ignored.
        """


class TorchOperations:
    """With PyTorch's own operations: int64 index maps, several launches each."""

    name = "PyTorch's own pooling"

    def frame(
        self, frames: Tensor, channels: int, dtype: torch.dtype, norm: ResponseNorm | None
    ) -> Tensor:
        """See `Operations.frame`."""
        n, h, w, _ = frames.shape
        values = frames.float()
        if norm is None:
            values = values.mul_(FRAME_SCALE)
        else:
            squares = values.square().sum(3, keepdim=True)
            divisor = squares.mul_(norm.alpha / norm.size).add_(norm.k).pow_(norm.beta)
            values = values.div_(divisor)
        out = torch.zeros((n, h, w, channels), dtype=dtype, device=frames.device)
        out[..., :3].copy_(values)
        return out.permute(0, 3, 1, 2)

    def pool(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """See `Operations.pool`."""
        values, index = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        return values, index

    def unpool(self, x: Tensor, index: Tensor, out_hw: tuple[int, int]) -> Tensor:
        """See `Operations.unpool`."""
        return F.max_unpool2d(x, index, [2, 2], [2, 2], output_size=list(out_hw))

    def labels(self, scores: Tensor, classes: int, block: int, out_hw: tuple[int, int]) -> Tensor:
        """See `Operations.labels`."""
        n, _, h, w = scores.shape
        squares = scores[:, : block * block * classes].reshape(n, block, block, classes, h, w)
        ids = squares.argmax(3).permute(0, 3, 1, 4, 2).reshape(n, h * block, w * block)
        return ids[:, : out_hw[0], : out_hw[1]].to(torch.uint8).contiguous()
