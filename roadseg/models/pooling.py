"""Max-pooling that remembers where each maximum was, and unpooling that puts values back there.

The two operations that make SegNet SegNet (PAMI 2017, section 3, figure 3). They are modules of
their own, so that export can replace them by another lowering without knowing the network.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch.nn.functional as F
from torch import Tensor, nn


class MaxPoolIndices(nn.Module):
    """2x2 max-pooling with stride 2 that returns the place of each maximum.

    Odd sides are pooled with ceil, as the authors' Caffe layers do: 45 rows give 23. Of equal
    values in a window the first in row-major order wins. A NaN in a window wins.
    """

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Pool a feature map.

        Args:
            x: (N, C, H, W) float.

        Returns:
            (N, C, ceil(H/2), ceil(W/2)) maxima, and their int64 offsets into each H*W plane.
        """
        values, indices = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
        return values, indices


class IndexUnpool(nn.Module):
    """The way back of `MaxPoolIndices`: each value where its maximum was, zeros elsewhere."""

    def forward(self, x: Tensor, indices: Tensor, like: Tensor) -> Tensor:
        """Unpool a feature map.

        Args:
            x: (N, C, h, w) values.
            indices: (N, C, h, w) int64, from `MaxPoolIndices` on a map of the size of `like`.
            like: (N, any, H, W); gives the output's height and width, which `h` and `w` alone
                do not tell when a side was odd.

        Returns:
            (N, C, H, W), zero except at the indices.

        Raises:
            ValueError: `x` and `indices` differ in shape, or do not fit the size of `like`.
        """
        height, width = like.shape[-2:]
        if x.shape != indices.shape:
            raise ValueError(
                f"values and indices must agree: got {tuple(x.shape)} and {tuple(indices.shape)}"
            )
        if x.shape[-2:] != ((height + 1) // 2, (width + 1) // 2):
            raise ValueError(
                f"{height}x{width} pools to {(height + 1) // 2}x{(width + 1) // 2}, "
                f"got {x.shape[-2]}x{x.shape[-1]}"
            )
        return F.max_unpool2d(x, indices, [2, 2], [2, 2], output_size=[height, width])


class SymmetricEncoderDecoder(nn.Module):
    """Encoders that each end in a pool, and as many decoders that each begin with its unpool.

    The body that SegNet and SegNet-Basic share (section 3, figure 2).

    Args:
        encoder: stages from the frame down.
        decoder: stages from the deepest up, as many as encoders.
    """

    def __init__(self, encoder: Iterable[nn.Module], decoder: Iterable[nn.Module]) -> None:
        super().__init__()
        self.encoder = nn.ModuleList(encoder)
        self.decoder = nn.ModuleList(decoder)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()

    def features(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the last decoder's (N, C', H, W)."""
        places = []
        for stage in self.encoder:
            full = stage(x)
            x, indices = self.pool(full)
            places.append((indices, full))
        for stage in self.decoder:
            indices, full = places.pop()
            x = stage(self.unpool(x, indices, full))
        return x
