"""Which CUDA kernels there are, how each is launched, and their source.

The launch ABI, the same for every variant; addresses are device pointers, sizes are logical and
32-bit, everything computed from them is 64-bit:

    pool:    (x, batch, channels, height, width, y, index)                       sizes of x
    unpool:  (x, index, batch, channels, height, width, crop_h, crop_w, y)       sizes of x

Every grid and block is correct, because threads loop; `pool_launch` and `unpool_launch` give the
fast ones. Nothing here needs CUDA, a GPU or a compiler: `nvrtc` compiles, `host` simulates.
"""

from __future__ import annotations

import hashlib
from ctypes import _SimpleCData, c_int32, c_void_p
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from roadseg.kernels.layouts import DTYPES, ITEM_BYTES, Layout, padded_channels, storage_bytes

__all__ = [
    "DTYPES",
    "MAX_BLOCK",
    "Launch",
    "Layout",
    "Variant",
    "pool_launch",
    "pooled_hw",
    "source",
    "source_hash",
    "storage_bytes",
    "unpool_launch",
    "unpooled_hw",
    "variants",
]

# In this order they are one translation unit.
_SOURCES = ("lanes.cuh", "layouts.cuh", "pool.cu", "unpool.cu")

# Values' data type and memory format, and that of the index map.
_COMBINATIONS = (
    ("fp32", Layout.LINEAR, Layout.LINEAR),
    ("fp16", Layout.LINEAR, Layout.LINEAR),
    ("fp16", Layout.HWC8, Layout.CHW32),
    ("fp16", Layout.HWC8, Layout.HWC16),
    ("int8", Layout.LINEAR, Layout.LINEAR),
    ("int8", Layout.CHW32, Layout.CHW32),
    ("int8", Layout.HWC16, Layout.HWC16),
)

_VECTOR_BYTES = 16

# The kernels are compiled for at most this many threads in a block (`__launch_bounds__`). They need
# so few registers that six to eight such blocks share a multiprocessor; see docs/kernels.md.
MAX_BLOCK = 256
_WARP = 32
# Small layers get smaller blocks until there are this many: a few for each multiprocessor of the
# largest GPUs (132 on an H200), so that none stands idle.
_BLOCKS_WANTED = 512

_MAX_GRID_X = 2**31 - 1
_MAX_GRID_Y = 65535
_MAX_INT32 = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Variant:
    """One compiled kernel.

    Attributes:
        op: `pool` or `unpool`.
        dtype: of the values, one of `DTYPES`. The index map is always INT8.
        layout: memory format of the values, in and out.
        index_layout: memory format of the index map.
    """

    op: str
    dtype: str
    layout: Layout
    index_layout: Layout

    @property
    def symbol(self) -> str:
        """Its name in compiled code: `roadseg_pool_fp16_hwc8_chw32`."""
        return f"roadseg_{self.op}_{self.dtype}_{self.layout.value}_{self.index_layout.value}"


@dataclass(frozen=True, slots=True)
class Launch:
    """One call of one kernel: what `Kernel.launch` takes.

    Attributes:
        symbol: the kernel's name.
        grid: blocks.
        block: threads of a block.
        args: its parameters, in order, of exactly their types.
    """

    symbol: str
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    args: tuple[_SimpleCData[Any], ...]


@cache
def variants() -> tuple[Variant, ...]:
    """Every kernel that is compiled."""
    return tuple(Variant(op, *kind) for op in ("pool", "unpool") for kind in _COMBINATIONS)


def pooled_hw(height: int, width: int) -> tuple[int, int]:
    """Height and width of the pooled map: halves, rounded up."""
    return (height + 1) // 2, (width + 1) // 2


def unpooled_hw(height: int, width: int, crop_hw: tuple[int, int]) -> tuple[int, int]:
    """The way back of `pooled_hw`; `crop_hw` is 1 where the side was odd."""
    return 2 * height - crop_hw[0], 2 * width - crop_hw[1]


def pool_launch(
    variant: Variant, nchw: tuple[int, int, int, int], x: int, y: int, index: int
) -> Launch:
    """How to pool.

    Args:
        variant: a pooling kernel out of `variants()`.
        nchw: logical shape of `x`.
        x: device address of the values, in the variant's layout.
        y: device address of the maxima, in the variant's layout, height and width halved and
            rounded up.
        index: device address of the index map, INT8 in the variant's index layout, shape of `y`:
            2 * row + column of the maximum in its window.

    Raises:
        ValueError: there is no such kernel; a side is not in 1..2**31 - 1; or an address is not
            aligned.
    """
    _check(variant, "pool", nchw, (x, y), index)
    batch, channels, height, width = nchw
    pooled_h, pooled_w = pooled_hw(height, width)
    vectors = _vectors_fit(variant, width, wide=x, narrow=y, index=index)
    grid, block = _geometry(variant, (batch, channels, pooled_h, pooled_w), vectors)
    sizes = (c_int32(batch), c_int32(channels), c_int32(height), c_int32(width))
    args = (c_void_p(x), *sizes, c_void_p(y), c_void_p(index))
    return Launch(variant.symbol, grid, block, args)


def unpool_launch(
    variant: Variant,
    nchw: tuple[int, int, int, int],
    crop_hw: tuple[int, int],
    x: int,
    index: int,
    y: int,
) -> Launch:
    """How to unpool.

    Args:
        variant: an unpooling kernel out of `variants()`.
        nchw: logical shape of `x`, the small map.
        crop_hw: 1 where the large map's height, or width, is odd; else 0.
        x: device address of the values, in the variant's layout.
        index: device address of the index map, INT8 in the variant's index layout, shape of `x`.
            Of each byte only the two lowest bits count.
        y: device address of the large map, in the variant's layout, (N, C, 2h - crop, 2w - crop).

    Raises:
        ValueError: there is no such kernel; a side is not in 1..2**31 - 1; an address is not
            aligned; or a crop is not 0 or 1.
    """
    _check(variant, "unpool", nchw, (x, y), index)
    batch, channels, height, width = nchw
    if not {*crop_hw} <= {0, 1}:
        raise ValueError(f"a crop is 0 or 1: got {crop_hw}")
    large_hw = unpooled_hw(height, width, crop_hw)
    if max(large_hw) > _MAX_INT32:
        raise ValueError(f"sides must be at most {_MAX_INT32}: got {large_hw} unpooled")
    vectors = _vectors_fit(variant, large_hw[1], wide=y, narrow=x, index=index)
    grid, block = _geometry(variant, nchw, vectors)
    sizes = (c_int32(batch), c_int32(channels), c_int32(height), c_int32(width))
    crops = (c_int32(crop_hw[0]), c_int32(crop_hw[1]))
    args = (c_void_p(x), c_void_p(index), *sizes, *crops, c_void_p(y))
    return Launch(variant.symbol, grid, block, args)


@cache
def source() -> str:
    """All kernels as one translation unit of CUDA C++, without includes."""
    folder = Path(__file__).parent
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in _SOURCES)


@cache
def source_hash() -> str:
    """SHA-256 of `source()`, in hexadecimal."""
    return hashlib.sha256(source().encode()).hexdigest()


def _check(
    variant: Variant,
    op: str,
    nchw: tuple[int, int, int, int],
    values: tuple[int, int],
    index: int,
) -> None:
    if variant not in variants() or variant.op != op:
        raise ValueError(f"no {op} kernel is called {variant.symbol}")
    if not all(1 <= side <= _MAX_INT32 for side in nchw):
        raise ValueError(f"sides must be in 1..{_MAX_INT32}: got {nchw}")
    if variant.layout is Layout.LINEAR:
        # The elements' own size; any more decides only how fast it is.
        value_bytes, index_bytes = ITEM_BYTES[variant.dtype], 1
    else:
        value_bytes, index_bytes = _VECTOR_BYTES, _VECTOR_BYTES // ITEM_BYTES[variant.dtype]
    if any(address % value_bytes for address in values) or index % index_bytes:
        raise ValueError(
            f"{variant.symbol} needs values at multiples of {value_bytes} bytes and the index map "
            f"at a multiple of {index_bytes}: got {values[0]:#x}, {values[1]:#x} and {index:#x}"
        )


def _vectors_fit(variant: Variant, width: int, *, wide: int, narrow: int, index: int) -> bool:
    """Whether a linear kernel can use 16-byte accesses; the kernel decides by the same rule.

    All rows of the large map must start at a multiple of 16 bytes; those of the small map and of
    its index then start at a multiple of what belongs to 16 bytes of a large row.
    """
    elements = _VECTOR_BYTES // ITEM_BYTES[variant.dtype]
    aligned = wide % _VECTOR_BYTES == 0 and narrow % (_VECTOR_BYTES // 2) == 0
    return aligned and index % (elements // 2) == 0 and width % elements == 0


def _geometry(
    variant: Variant, small_nchw: tuple[int, int, int, int], vectors: bool
) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Grid and block: one thread for each piece of work, planes along y.

    A plane is what lies together in memory: a channel, the 32 channels of a block, or an image. A
    piece of work is one pooled pixel, or one vector of channels of it, or the pooled pixels that
    belong to 16 bytes of a large row.
    """
    batch, channels, height, width = small_nchw
    elements = _VECTOR_BYTES // ITEM_BYTES[variant.dtype]
    if variant.layout is Layout.LINEAR:
        planes = batch * channels
        pieces = height * (2 * width // elements if vectors else width)
    elif variant.layout is Layout.CHW32:
        planes = batch * (padded_channels(variant.layout, channels) // 32)
        pieces = height * width * (32 // elements)
    else:
        # Pooling also writes the index map's padding, which can be wider.
        kinds = (variant.layout, variant.index_layout)[: 2 if variant.op == "pool" else 1]
        room = max(padded_channels(kind, channels) for kind in kinds)
        planes = batch
        pieces = height * width * (room // elements)
    block = MAX_BLOCK
    while block > 64 and planes * -(-pieces // block) < _BLOCKS_WANTED:
        block //= 2
    block = min(block, -(-pieces // _WARP) * _WARP)
    blocks = min(-(-pieces // block), _MAX_GRID_X)
    return (blocks, min(planes, _MAX_GRID_Y), 1), (block, 1, 1)
