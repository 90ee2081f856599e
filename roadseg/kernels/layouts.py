"""How TensorRT keeps a logical (N, C, H, W) tensor in memory, and the way between that and NCHW.

The four memory formats that the kernels know, with TensorRT's names for them:

| layout | TensorRT | array | what is padded |
|---|---|---|---|
| `LINEAR` | kLINEAR | [N][C][H][W] | nothing |
| `HWC8` | kHWC8 | [N][H][W][C up to a multiple of 8] | channels |
| `HWC16` | kHWC16 | [N][H][W][C up to a multiple of 16] | channels |
| `CHW32` | kCHW32 | [N][ceil(C / 32)][H][W][32] | channels |
"""

from __future__ import annotations

from enum import Enum

import numpy as np
import numpy.typing as npt

DTYPES = ("fp32", "fp16", "int8")
ITEM_BYTES = {"fp32": 4, "fp16": 2, "int8": 1}


class Layout(str, Enum):
    """A memory format of a logical (N, C, H, W) tensor."""

    LINEAR = "linear"
    HWC8 = "hwc8"
    HWC16 = "hwc16"
    CHW32 = "chw32"


_CHANNEL_BLOCK = {Layout.LINEAR: 1, Layout.HWC8: 8, Layout.HWC16: 16, Layout.CHW32: 32}


def padded_channels(layout: Layout, channels: int) -> int:
    """How many channels have room in memory."""
    block = _CHANNEL_BLOCK[layout]
    return -(-channels // block) * block


def storage_bytes(dtype: str, layout: Layout, nchw: tuple[int, int, int, int]) -> int:
    """Size in memory of a tensor of logical shape `nchw`, padding included.

    Args:
        dtype: one of `DTYPES`.
        layout: its memory format.
        nchw: its logical shape.
    """
    batch, channels, height, width = nchw
    return batch * padded_channels(layout, channels) * height * width * ITEM_BYTES[dtype]


def to_layout(
    nchw: npt.NDArray[np.generic], layout: Layout, *, padding: int = 0
) -> npt.NDArray[np.generic]:
    """Lay a tensor out in memory.

    Args:
        nchw: (N, C, H, W) of any type.
        layout: the memory format wanted.
        padding: what the channels that are not there hold.

    Returns:
        (N, groups, H, W, channels of a group), contiguous; one group unless the layout is CHW32,
        and (N, C, H, W) for LINEAR.
    """
    if layout is Layout.LINEAR:
        return np.ascontiguousarray(nchw)
    batch, channels, height, width = nchw.shape
    padded = padded_channels(layout, channels)
    full = np.full((batch, padded, height, width), padding, nchw.dtype)
    full[:, :channels] = nchw
    groups = padded // 32 if layout is Layout.CHW32 else 1
    grouped = full.reshape(batch, groups, padded // groups, height, width)
    return np.ascontiguousarray(grouped.transpose(0, 1, 3, 4, 2))


def from_layout(
    memory: npt.NDArray[np.generic], layout: Layout, nchw: tuple[int, int, int, int]
) -> npt.NDArray[np.generic]:
    """Take a tensor out of memory; the way back of `to_layout`.

    Args:
        memory: any shape, contiguous, with as many items as `nchw` takes in `layout`.
        layout: its memory format.
        nchw: its logical shape.

    Returns:
        (N, C, H, W), contiguous, without padding.
    """
    batch, channels, height, width = nchw
    if layout is Layout.LINEAR:
        return np.ascontiguousarray(memory.reshape(nchw))
    padded = padded_channels(layout, channels)
    groups = padded // 32 if layout is Layout.CHW32 else 1
    grouped = memory.reshape(batch, groups, height, width, padded // groups)
    full = grouped.transpose(0, 1, 4, 2, 3).reshape(batch, padded, height, width)
    return np.ascontiguousarray(full[:, :channels])
