"""Variants, layouts, launch geometry, and addresses larger than any memory."""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable
from ctypes import c_int32, c_void_p

import numpy as np
import pytest

from roadseg.kernels.kernels import (
    DTYPES,
    MAX_BLOCK,
    Launch,
    Layout,
    Variant,
    pool_launch,
    pooled_hw,
    source,
    source_hash,
    storage_bytes,
    unpool_launch,
    unpooled_hw,
    variants,
)
from roadseg.kernels.layouts import from_layout, padded_channels, to_layout
from roadseg.testing.host_kernels import host_library

BASE = 1 << 40


def find(op: str, dtype: str, layout: str, index_layout: str) -> Variant:
    variant = Variant(op, dtype, Layout(layout), Layout(index_layout))
    assert variant in variants()
    return variant


def test_every_variant_has_a_name_and_a_kernel() -> None:
    kinds = {(v.dtype, v.layout.value, v.index_layout.value) for v in variants()}
    assert kinds == {
        ("fp32", "linear", "linear"),
        ("fp16", "linear", "linear"),
        ("int8", "linear", "linear"),
        ("fp16", "hwc8", "chw32"),
        ("fp16", "hwc8", "hwc16"),
        ("int8", "chw32", "chw32"),
        ("int8", "hwc16", "hwc16"),
    }
    assert {v.dtype for v in variants()} == set(DTYPES)
    assert len(variants()) == len({v.symbol for v in variants()}) == 14
    assert find("pool", "fp16", "hwc8", "chw32").symbol == "roadseg_pool_fp16_hwc8_chw32"
    for variant in variants():
        assert f"{variant.op.upper()}({variant.symbol}, " in source()


def test_the_source_is_one_unit_that_includes_nothing() -> None:
    assert "#include" not in source()
    assert source_hash() == hashlib.sha256(source().encode()).hexdigest()


@pytest.mark.parametrize("layout", list(Layout))
@pytest.mark.parametrize("channels", [1, 8, 9, 16, 31, 32, 33, 64])
def test_layouts_are_what_tensorrt_documents(layout: Layout, channels: int) -> None:
    nchw = (2, channels, 3, 4)
    values = np.arange(1, 1 + np.prod(nchw), dtype=np.int32).reshape(nchw)
    memory = to_layout(values, layout, padding=-1)
    assert memory.nbytes == storage_bytes("fp32", layout, nchw)
    assert memory.nbytes == 2 * storage_bytes("fp16", layout, nchw)
    assert memory.nbytes == 4 * storage_bytes("int8", layout, nchw)
    assert np.array_equal(from_layout(memory, layout, nchw), values)
    missing = padded_channels(layout, channels) - channels
    assert np.count_nonzero(memory == -1) == 2 * 3 * 4 * missing
    # NVIDIA's own words: HWC has subscript [n][h][w][c], CHW32 has [n][c / 32][h][w][c % 32].
    if layout is Layout.LINEAR:
        assert memory[1, channels - 1, 2, 3] == values[-1, -1, -1, -1]
    else:
        group, within = divmod(channels - 1, 32 if layout is Layout.CHW32 else 1 << 30)
        assert memory[1, group, 2, 3, within] == values[-1, -1, -1, -1]


def test_halves_are_rounded_up_and_back() -> None:
    for height in range(1, 9):
        for width in range(1, 9):
            small = pooled_hw(height, width)
            assert small == (-(-height // 2), -(-width // 2))
            assert unpooled_hw(*small, (height % 2, width % 2)) == (height, width)


def types(launch: Launch) -> list[type]:
    return [type(arg) for arg in launch.args]


def test_the_launch_abi() -> None:
    pool = pool_launch(
        find("pool", "fp16", "hwc8", "hwc16"), (2, 64, 45, 60), BASE, BASE * 2, BASE * 3
    )
    assert pool.symbol == "roadseg_pool_fp16_hwc8_hwc16"
    assert types(pool) == [c_void_p, *[c_int32] * 4, c_void_p, c_void_p]
    assert [arg.value for arg in pool.args] == [BASE, 2, 64, 45, 60, BASE * 2, BASE * 3]
    unpool = unpool_launch(
        find("unpool", "fp16", "hwc8", "hwc16"), (2, 64, 23, 30), (1, 0), BASE, BASE * 2, BASE * 3
    )
    assert unpool.symbol == "roadseg_unpool_fp16_hwc8_hwc16"
    assert types(unpool) == [c_void_p, c_void_p, *[c_int32] * 6, c_void_p]
    assert [arg.value for arg in unpool.args] == [BASE, BASE * 2, 2, 64, 23, 30, 1, 0, BASE * 3]


@pytest.mark.parametrize(
    ("kind", "nchw", "grid", "block"),
    [
        # Large: 256 threads, one piece each. 180 x 240 pooled pixels of 64 channels as 8 vectors.
        (("fp16", "hwc8", "hwc16"), (1, 64, 360, 480), (1350, 1, 1), 256),
        # Small: blocks shrink so that more multiprocessors have one.
        (("fp16", "hwc8", "hwc16"), (1, 512, 23, 30), (180, 1, 1), 64),
        (("fp16", "hwc8", "hwc16"), (8, 512, 23, 30), (90, 8, 1), 128),
        # The index map's padding is work, too: 8 channels have one vector, but two in the map.
        (("fp16", "hwc8", "hwc16"), (1, 8, 360, 480), (675, 1, 1), 128),
        (("fp16", "hwc8", "chw32"), (1, 8, 360, 480), (675, 1, 1), 256),
        # 33 channels are two blocks of 32, of two vectors each.
        (("int8", "chw32", "chw32"), (1, 33, 360, 480), (338, 2, 1), 256),
        # Linear rows of 480 halves are 60 vectors; rows of 60 have none, pixel by pixel.
        (("fp16", "linear", "linear"), (1, 64, 360, 480), (43, 64, 1), 256),
        (("fp16", "linear", "linear"), (1, 256, 90, 60), (6, 256, 1), 256),
        # A plane smaller than a block: whole warps, no more.
        (("fp32", "linear", "linear"), (1, 512, 23, 30), (1, 512, 1), 192),
        (("fp32", "linear", "linear"), (8, 512, 9, 7), (1, 4096, 1), 32),
        # More planes than the grid has rows: threads loop.
        (("int8", "linear", "linear"), (200, 512, 2, 2), (1, 65535, 1), 32),
        # More pieces than the grid has columns times 64: never more than 2**31 - 1.
        (("int8", "linear", "linear"), (1, 1, 2**31 - 1, 2**31 - 1), (2**31 - 1, 1, 1), 256),
    ],
)
def test_geometry(
    kind: tuple[str, str, str],
    nchw: tuple[int, int, int, int],
    grid: tuple[int, int, int],
    block: int,
) -> None:
    launch = pool_launch(find("pool", *kind), nchw, BASE, BASE, BASE)
    assert (launch.grid, launch.block) == (grid, (block, 1, 1))


def test_blocks_fit_what_the_kernels_are_compiled_for() -> None:
    assert source().count(f"__launch_bounds__({MAX_BLOCK})") == 2


@pytest.mark.parametrize("kind", [v for v in variants() if v.op == "unpool"], ids=str)
def test_both_directions_have_the_same_geometry(kind: Variant) -> None:
    nchw = (2, 64, 90, 128)
    pool = find("pool", kind.dtype, kind.layout.value, kind.index_layout.value)
    there = pool_launch(pool, nchw, BASE, BASE, BASE)
    back = unpool_launch(kind, (2, 64, 45, 64), (0, 0), BASE, BASE, BASE)
    assert (there.grid, there.block) == (back.grid, back.block)


def test_a_linear_address_that_is_not_aligned_costs_threads_not_results() -> None:
    variant = find("pool", "fp32", "linear", "linear")
    vectors = pool_launch(variant, (1, 512, 96, 128), BASE, BASE, BASE)
    elements = pool_launch(variant, (1, 512, 96, 128), BASE + 4, BASE, BASE)
    assert vectors.grid == (6, 512, 1)
    assert elements.grid == (12, 512, 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: pool_launch(variants()[7], (1, 1, 1, 1), 0, 0, 0),
            "no pool kernel is called roadseg_unpool_fp32_linear_linear",
        ),
        (
            lambda: unpool_launch(
                Variant("unpool", "fp32", Layout.HWC8, Layout.HWC16), (1, 1, 1, 1), (0, 0), 0, 0, 0
            ),
            "no unpool kernel is called roadseg_unpool_fp32_hwc8_hwc16",
        ),
        (
            lambda: pool_launch(variants()[0], (1, 0, 1, 1), 0, 0, 0),
            "sides must be in 1..2147483647: got (1, 0, 1, 1)",
        ),
        (
            lambda: pool_launch(variants()[0], (1, 1, 1, 2**31), 0, 0, 0),
            "sides must be in 1..2147483647: got (1, 1, 1, 2147483648)",
        ),
        (
            lambda: unpool_launch(variants()[7], (1, 1, 1, 2**30), (0, 0), 0, 0, 0),
            "sides must be at most 2147483647: got (2, 2147483648) unpooled",
        ),
        (
            lambda: unpool_launch(variants()[7], (1, 1, 1, 1), (2, 0), 0, 0, 0),
            "a crop is 0 or 1: got (2, 0)",
        ),
        (
            lambda: pool_launch(variants()[0], (1, 1, 1, 1), 2, 4, 1),
            "roadseg_pool_fp32_linear_linear needs values at multiples of 4 bytes and the index "
            "map at a multiple of 1: got 0x2, 0x4 and 0x1",
        ),
        (
            lambda: pool_launch(find("pool", "fp16", "hwc8", "hwc16"), (1, 1, 1, 1), 32, 16, 12),
            "roadseg_pool_fp16_hwc8_hwc16 needs values at multiples of 16 bytes and the index "
            "map at a multiple of 8: got 0x20, 0x10 and 0xc",
        ),
    ],
)
def test_what_no_kernel_can_do_is_refused(call: Callable[[], Launch], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()
    assert str(caught.value) == message


def offset(layout: Layout, n: int, c: int, pixel: int, channels: int, pixels: int) -> int:
    """The kernels' address calculation, compiled on its own."""
    function = host_library()[f"offset_{layout.value}"]
    function.restype = ctypes.c_uint64
    if layout is Layout.LINEAR:
        numbers = (n * channels + c, pixel, pixels)
    else:
        numbers = (n, c, pixel, channels, pixels)
    return int(function(*map(ctypes.c_uint64, numbers)))


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("layout", list(Layout))
def test_addresses_agree_with_the_layout(layout: Layout) -> None:
    nchw = (2, 37, 3, 5)
    where = to_layout(np.arange(np.prod(nchw)).reshape(nchw), layout, padding=-1).reshape(-1)
    for number, (n, c, y, x) in enumerate(np.ndindex(nchw)):
        assert where[offset(layout, n, c, 5 * y + x, 37, 15)] == number


@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("layout", list(Layout))
def test_addresses_beyond_32_bits(layout: Layout) -> None:
    rng = np.random.default_rng(0)
    beyond = 0
    for _ in range(500):
        batch, channels, height, width = (
            int(2 ** rng.uniform(0, bits)) for bits in (8, 14, 17, 17)
        )
        n, c, y, x = (int(rng.integers(side)) for side in (batch, channels, height, width))
        pixel, pixels = y * width + x, height * width
        padded = padded_channels(layout, channels)
        if layout is Layout.LINEAR:
            expected = (n * channels + c) * pixels + pixel
        elif layout is Layout.CHW32:
            expected = ((n * (padded // 32) + c // 32) * pixels + pixel) * 32 + c % 32
        else:
            expected = (n * pixels + pixel) * padded + c
        assert offset(layout, n, c, pixel, channels, pixels) == expected
        beyond += expected >= 2**32
    assert beyond > 100


@pytest.mark.usefixtures("host")
def test_pieces_beyond_32_bits() -> None:
    divide, piece = host_library().quotient, host_library().piece
    divide.restype = piece.restype = ctypes.c_uint64
    for count in (0, 1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**40 + 12345, 2**61 + 7):
        for by in (1, 2, 3, 60, 65537, 2**31 - 1):
            assert divide(ctypes.c_uint64(count), ctypes.c_uint32(by)) == count // by
    grid, block, at_block, at_thread = 2**31 - 1, 256, 2**31 - 2, 255
    first, stride = at_block * block + at_thread, grid * block
    dims = (ctypes.c_uint32 * 4)(grid, block, at_block, at_thread)
    assert piece(dims) == first + stride > 2**39
