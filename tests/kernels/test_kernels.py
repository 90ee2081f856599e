"""The kernels' bodies, run on the CPU, against PyTorch: bit for bit, every variant."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
import torch
import torch.nn.functional as F

from roadseg.kernels.kernels import (
    Launch,
    Layout,
    Variant,
    pool_launch,
    pooled_hw,
    storage_bytes,
    unpool_launch,
    unpooled_hw,
    variants,
)
from roadseg.kernels.layouts import from_layout, to_layout
from roadseg.testing.host_kernels import HostKernel, host_library

Bits = npt.NDArray[np.unsignedinteger]
Kernels = Mapping[str, HostKernel]
Shape = tuple[int, int, int, int]

BITS = {"fp32": np.uint32, "fp16": np.uint16, "int8": np.uint8}
FLOATS = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}
GUARD = 64

POOLS = [variant for variant in variants() if variant.op == "pool"]
UNPOOLS = [variant for variant in variants() if variant.op == "unpool"]

# Shapes of the large map. Odd sides, single rows and columns, channels that fill no vector or one
# and a bit, batches, rows that are multiples of 16 bytes in one type and not in another.
SHAPES: list[Shape] = [
    (1, 1, 1, 1),
    (1, 3, 1, 2),
    (2, 8, 2, 1),
    (1, 16, 1, 17),
    (3, 5, 7, 9),
    (3, 9, 5, 16),
    (2, 17, 6, 8),
    (1, 33, 3, 4),
    (1, 40, 5, 5),
    (1, 64, 4, 6),
    (2, 2, 9, 32),
    (3, 3, 4, 48),
    (1, 24, 45, 60),
]


class Memory:
    """A buffer between guards, at an address of choice, filled with a byte."""

    def __init__(self, nbytes: int, *, fill: int = 0xA5, shift: int = 0) -> None:
        self._all = np.full(nbytes + 2 * GUARD + 256, 0xC3, np.uint8)
        self._start = GUARD + -(self._all.ctypes.data + GUARD) % 256 + shift
        self._end = self._start + nbytes
        self.bytes = self._all[self._start : self._end]
        self.bytes[:] = fill

    @property
    def pointer(self) -> int:
        return self._all.ctypes.data + self._start

    def check_guards(self) -> None:
        assert (self._all[: self._start] == 0xC3).all(), "written before the buffer"
        assert (self._all[self._end :] == 0xC3).all(), "written behind the buffer"


def stored(values: Bits, variant: Variant, *, shift: int = 0) -> Memory:
    """Values in the variant's layout, with ones in the channels that do not exist."""
    laid = to_layout(values, variant.layout, padding=int(np.iinfo(values.dtype).max))
    memory = Memory(laid.nbytes, shift=shift)
    memory.bytes[:] = laid.reshape(-1).view(np.uint8)
    return memory


def run(kernels: Kernels, launch: Launch) -> int:
    """Run a launch; how many bytes it wrote."""
    take = host_library().take_stored_bytes
    take.restype = ctypes.c_uint64
    take()
    kernels[launch.symbol](launch.grid, launch.block, launch.args)
    return int(take())


def read(memory: Memory, dtype: npt.DTypeLike, layout: Layout, nchw: Shape) -> Bits:
    """A tensor out of memory; its padding must be zero."""
    raw = memory.bytes.copy().view(dtype)
    values = from_layout(raw, layout, nchw)
    assert np.array_equal(to_layout(values, layout, padding=0).reshape(-1), raw), "padding is not 0"
    return values


def pool(
    kernels: Kernels, variant: Variant, x: Bits, *, shift: int = 0, dims: object = None
) -> tuple[Bits, Bits]:
    """Pool with a kernel, and check what must hold for any input."""
    nchw = x.shape
    small: Shape = (*nchw[:2], *pooled_hw(*nchw[2:]))
    source = stored(x, variant, shift=shift)
    before = source.bytes.copy()
    results = []
    for fill in (0x00, 0x5A, 0xFF):
        y = Memory(storage_bytes(variant.dtype, variant.layout, small), fill=fill, shift=shift)
        index = Memory(
            storage_bytes("int8", variant.index_layout, small), fill=fill, shift=min(shift, 1)
        )
        launch = pool_launch(variant, nchw, source.pointer, y.pointer, index.pointer)
        if dims is not None:
            launch = replace(launch, grid=dims[0], block=dims[1])
        written = run(kernels, launch)
        # Everything was written, whatever was there; and no more bytes than there are.
        assert written == y.bytes.size + index.bytes.size
        for memory in (source, y, index):
            memory.check_guards()
        values = read(y, BITS[variant.dtype], variant.layout, small)
        places = read(index, np.uint8, variant.index_layout, small)
        results.append((values, places))
    assert np.array_equal(source.bytes, before)
    for values, places in results[1:]:
        assert np.array_equal(values, results[0][0])
        assert np.array_equal(places, results[0][1])
    return results[0]


def unpool(
    kernels: Kernels,
    variant: Variant,
    x: Bits,
    places: Bits,
    crop_hw: tuple[int, int],
    *,
    shift: int = 0,
    dims: object = None,
) -> Bits:
    """Unpool with a kernel, and check what must hold for any input."""
    nchw = x.shape
    large: Shape = (*nchw[:2], *unpooled_hw(*nchw[2:], crop_hw))
    values = stored(x, variant, shift=shift)
    laid = to_layout(places, variant.index_layout, padding=0xFF)
    index = Memory(laid.nbytes, shift=min(shift, 1))
    index.bytes[:] = laid.reshape(-1)
    results = []
    for fill in (0x00, 0x5A, 0xFF):
        y = Memory(storage_bytes(variant.dtype, variant.layout, large), fill=fill, shift=shift)
        launch = unpool_launch(variant, nchw, crop_hw, values.pointer, index.pointer, y.pointer)
        if dims is not None:
            launch = replace(launch, grid=dims[0], block=dims[1])
        assert run(kernels, launch) == y.bytes.size
        for memory in (values, index, y):
            memory.check_guards()
        results.append(read(y, BITS[variant.dtype], variant.layout, large))
    assert all(np.array_equal(result, results[0]) for result in results[1:])
    return results[0]


def torch_pool(x: Bits, dtype: str) -> tuple[Bits, Bits, torch.Tensor]:
    """PyTorch's pooling: the bits at its indices, places in the window, and the indices."""
    tensor = torch.from_numpy(x.view(FLOATS[dtype]).copy())
    maxima, indices = F.max_pool2d(tensor, 2, 2, ceil_mode=True, return_indices=True)
    batch, channels, _, width = x.shape
    flat = indices.numpy()
    bits = np.take_along_axis(
        x.reshape(batch, channels, -1), flat.reshape(batch, channels, -1), axis=2
    ).reshape(flat.shape)
    assert np.array_equal(bits.view(FLOATS[dtype]), maxima.numpy(), equal_nan=dtype != "int8")
    places = (2 * (flat // width % 2) + flat % width % 2).astype(np.uint8)
    return bits, places, indices


def torch_unpool(x: Bits, indices: torch.Tensor, height: int, width: int) -> Bits:
    """PyTorch's unpooling of bit patterns; 64-bit floats hold every one of them exactly."""
    numbers = torch.from_numpy(x.astype(np.float64))
    large = F.max_unpool2d(numbers, indices, [2, 2], [2, 2], output_size=[height, width])
    return large.numpy().astype(x.dtype)


def specials(dtype: str) -> Bits:
    """Values where comparing goes wrong first, as bit patterns."""
    if dtype == "int8":
        return np.array([-128, -127, -65, -64, -1, 0, 1, 63, 64, 126, 127], np.int8).view(np.uint8)
    info = np.finfo(FLOATS[dtype])
    numbers = np.array(
        [
            -np.inf,
            info.min,
            -1.0,
            -info.tiny,
            -info.smallest_subnormal,
            -0.0,
            0.0,
            info.smallest_subnormal,
            info.tiny,
            1.0,
            info.max,
            np.inf,
        ],
        FLOATS[dtype],
    ).view(BITS[dtype])
    # The largest and the smallest NaN of both signs: quiet ones and signalling ones.
    nans = [0x7FFF, 0x7C01, 0xFFFF, 0xFC01]
    if dtype == "fp32":
        nans = [0x7FFFFFFF, 0x7F800001, 0xFFFFFFFF, 0xFF800001]
    return np.concatenate([numbers, np.array(nans, BITS[dtype])])


def mixed(dtype: str, shape: Shape, seed: int) -> Bits:
    """Small whole numbers with many ties, and special values here and there."""
    rng = np.random.default_rng(seed)
    bits = rng.integers(-2, 3, shape).astype(FLOATS[dtype]).view(BITS[dtype])
    return np.where(rng.random(shape) < 0.2, rng.choice(specials(dtype), shape), bits)


def windows(values: Bits, channels: int) -> Bits:
    """(1, channels, 2, 2n) of windows given as (count, 4); the last is repeated to fill up."""
    missing = -len(values) % channels
    values = np.concatenate([values, values[-1:].repeat(missing, axis=0)])
    grid = values.reshape(channels, -1, 2, 2)
    return np.ascontiguousarray(grid.transpose(0, 2, 1, 3)).reshape(1, channels, 2, -1)


def same(variant: Variant) -> str:
    return variant.symbol


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("variant", POOLS, ids=same)
def test_pool_is_pytorchs(host: Kernels, variant: Variant, shape: Shape) -> None:
    x = mixed(variant.dtype, shape, seed=sum(shape))
    values, places = pool(host, variant, x)
    expected, expected_places, _ = torch_pool(x, variant.dtype)
    assert np.array_equal(values, expected)
    assert np.array_equal(places, expected_places)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("variant", UNPOOLS, ids=same)
def test_unpool_is_pytorchs(host: Kernels, variant: Variant, shape: Shape) -> None:
    _, places, indices = torch_pool(mixed(variant.dtype, shape, seed=1), variant.dtype)
    height, width = shape[2:]
    x = mixed(variant.dtype, places.shape, seed=2)
    large = unpool(host, variant, x, places, (height % 2, width % 2))
    assert np.array_equal(large, torch_unpool(x, indices, height, width))


@pytest.mark.parametrize("variant", POOLS, ids=same)
def test_every_window_of_special_values(host: Kernels, variant: Variant) -> None:
    # NaN as in PyTorch: it beats every number, and of several the last stays.
    alphabet = specials(variant.dtype)
    x = windows(np.array(list(itertools.product(alphabet, repeat=4)), alphabet.dtype), 32)
    values, places = pool(host, variant, x)
    expected, expected_places, _ = torch_pool(x, variant.dtype)
    assert np.array_equal(values, expected)
    assert np.array_equal(places, expected_places)


def test_the_nan_policy_in_words(host: Kernels) -> None:
    nan, inf = np.nan, np.inf
    cases = [
        ([nan, 1, 2, 3], 0),
        ([1, nan, inf, 3], 1),
        ([nan, 1, nan, 2], 2),
        ([nan, nan, nan, nan], 3),
        ([-inf, -inf, -inf, -inf], 0),
        ([-0.0, 0.0, 0.0, -0.0], 0),
    ]
    for variant in POOLS:
        if variant.dtype == "int8":
            continue
        numbers = np.array([window for window, _ in cases], FLOATS[variant.dtype])
        _, places = pool(host, variant, windows(numbers.view(BITS[variant.dtype]), 1))
        assert places.reshape(-1).tolist() == [place for _, place in cases]


@pytest.mark.parametrize("variant", [v for v in POOLS if v.dtype == "int8"], ids=same)
def test_every_pair_of_int8(host: Kernels, variant: Variant) -> None:
    pairs = np.array(list(itertools.product(range(256), repeat=2)), np.uint8)
    lowest = np.full_like(pairs, 0x80)
    # Beside each other, above each other, and across.
    columns = ([0, 1, 2, 3], [0, 2, 1, 3], [2, 0, 3, 1])
    every = np.concatenate([np.concatenate([pairs, lowest], axis=1)[:, c] for c in columns])
    x = windows(every, 32)
    values, places = pool(host, variant, x)
    expected, expected_places, _ = torch_pool(x, variant.dtype)
    assert np.array_equal(values, expected)
    assert np.array_equal(places, expected_places)


@pytest.mark.parametrize("variant", [v for v in POOLS if v.dtype == "fp16"], ids=same)
def test_every_fp16_meets_its_neighbours_and_strangers(host: Kernels, variant: Variant) -> None:
    every = np.arange(2**16, dtype=np.uint32)
    rng = np.random.default_rng(0)
    sets = [
        np.stack([every, every + 1, every - 1, every ^ 0x8000], axis=1),
        *(np.stack([rng.permutation(every) for _ in range(4)], axis=1) for _ in range(2)),
    ]
    x = windows((np.concatenate(sets) & 0xFFFF).astype(np.uint16), 8)
    values, places = pool(host, variant, x)
    expected, expected_places, _ = torch_pool(x, variant.dtype)
    assert np.array_equal(values, expected)
    assert np.array_equal(places, expected_places)


@pytest.mark.parametrize("variant", UNPOOLS, ids=same)
@pytest.mark.parametrize("crop_hw", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_no_index_leads_astray(host: Kernels, variant: Variant, crop_hw: tuple[int, int]) -> None:
    # TensorRT may time a plugin on memory that nobody filled: any byte must be harmless.
    rng = np.random.default_rng(3)
    shape = (2, 11, 5, 8)
    x = mixed(variant.dtype, shape, seed=4)
    index = rng.integers(0, 256, shape).astype(np.uint8)
    whole = np.zeros((2, 11, 10, 16), x.dtype)
    for place in range(4):
        whole[:, :, place // 2 :: 2, place % 2 :: 2] = np.where(index & 3 == place, x, 0)
    expected = whole[:, :, : 10 - crop_hw[0], : 16 - crop_hw[1]]
    assert np.array_equal(unpool(host, variant, x, index, crop_hw), expected)


@pytest.mark.parametrize("variant", variants(), ids=same)
@pytest.mark.parametrize(
    "dims",
    [((1, 1, 1), (1, 1, 1)), ((3, 2, 1), (32, 1, 1)), ((40, 9, 1), (256, 1, 1))],
    ids=["one thread", "few", "too many"],
)
def test_every_grid_and_block_is_correct(host: Kernels, variant: Variant, dims: object) -> None:
    shape = (2, 19, 6, 32)
    x = mixed(variant.dtype, shape, seed=5)
    bits, places, indices = torch_pool(x, variant.dtype)
    if variant.op == "pool":
        values, found = pool(host, variant, x, dims=dims)
        assert np.array_equal(values, bits)
        assert np.array_equal(found, places)
    else:
        large = unpool(host, variant, bits, places, (0, 0), dims=dims)
        assert np.array_equal(large, torch_unpool(bits, indices, *shape[2:]))


@pytest.mark.parametrize("variant", [v for v in variants() if v.layout is Layout.LINEAR], ids=same)
def test_linear_takes_any_address(host: Kernels, variant: Variant) -> None:
    # Rows are multiples of 16 bytes, the first address is not: element by element.
    item = np.dtype(BITS[variant.dtype]).itemsize
    x = mixed(variant.dtype, (2, 3, 6, 32), seed=6)
    bits, places, indices = torch_pool(x, variant.dtype)
    if variant.op == "pool":
        values, found = pool(host, variant, x, shift=item)
        assert np.array_equal(values, bits)
        assert np.array_equal(found, places)
    else:
        large = unpool(host, variant, bits, places, (0, 0), shift=item)
        assert np.array_equal(large, torch_unpool(bits, indices, 6, 32))


@pytest.mark.parametrize("shape", [(1, 20, 7, 10), (2, 16, 12, 15)], ids=str)
def test_pooling_and_unpooling_fit_in_every_layout(host: Kernels, shape: Shape) -> None:
    for small, large in zip(POOLS, UNPOOLS, strict=True):
        assert replace(small, op="unpool") == large
        x = mixed(small.dtype, shape, seed=7)
        values, places = pool(host, small, x)
        back = unpool(host, large, values, places, (shape[2] % 2, shape[3] % 2))
        again, again_places = pool(host, small, back)
        # What stands alone with zeros stays the maximum unless it is below them.
        zero = np.zeros(1, x.dtype).view(FLOATS[small.dtype])
        positive = values.view(FLOATS[small.dtype]) > zero
        assert np.array_equal(again[positive], values[positive])
        assert np.array_equal(again_places[positive], places[positive])
        assert np.count_nonzero(back) == np.count_nonzero(values)
