"""Pool and unpool kernels: parity with PyTorch for every variant, bandwidth against a copy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from benchmarks.gpu_steps import Recorder, Settings
from benchmarks.gpu_timing import device_ms
from roadseg.backends.torch_cuda.kernels import KernelOperations
from roadseg.kernels.kernels import (
    Layout,
    Variant,
    pool_launch,
    pooled_hw,
    storage_bytes,
    unpool_launch,
    variants,
)
from roadseg.kernels.layouts import from_layout, to_layout

__all__ = ["check_pool", "check_unpool", "copy_gb_s", "kernels", "load_operations"]

_TORCH = {"fp32": torch.float32, "fp16": torch.float16, "int8": torch.int8}
_NUMPY: dict[str, type[np.generic]] = {"fp32": np.float32, "fp16": np.float16, "int8": np.int8}

# Odd sides, sides of 1, channel counts that no vector divides, more than one block.
_PARITY_SHAPES = ((1, 64, 45, 60), (2, 37, 23, 31), (3, 8, 1, 1), (1, 513, 7, 16), (2, 16, 64, 2))

# What SegNet pools at 360x480, (C, H, W), and a map far larger than any cache.
_SEGNET_SHAPES = ((64, 360, 480), (128, 180, 240), (256, 90, 120), (512, 45, 60), (512, 23, 30))
_LARGE_SHAPE = (4, 64, 1024, 2048)

# Rotating buffers of together at least this much defeats every L2 cache (60 MB on an H200).
_ROTATION_BYTES = 512 * 2**20
# What one timed round moves at most, but for a few launches: enough for the clock, and no more.
_ROUND_BYTES = 4 * 2**30


def load_operations(device: str) -> KernelOperations:
    """The kernels on the GPU; on the CPU, compiled as C++ behind the simulated CUDA.

    Raises:
        BackendError: they cannot be compiled or loaded.
    """
    from roadseg.cuda.load import load_cuda
    from roadseg.testing.cuda import SimulatedCuda

    if device == "cpu":
        from roadseg.testing.host_kernels import host_frame_kernels, host_kernels

        functions = {**host_kernels(), **host_frame_kernels()}
        return KernelOperations(SimulatedCuda(functions), b"compiled as C++", b"compiled as C++")
    torch.zeros(1, device=device)  # PyTorch's context, which the kernels are loaded into
    return KernelOperations.compiled(load_cuda())


def _values(variant: Variant, nchw: tuple[int, ...], seed: int) -> npt.NDArray[Any]:
    """Few different values, so that windows have ties; both zeros and, in floats, NaN."""
    random = np.random.default_rng(seed)
    values = random.integers(-3, 4, nchw).astype(_NUMPY[variant.dtype])
    if variant.dtype != "int8":
        values[random.random(nchw) < 0.05] = np.nan
        values[random.random(nchw) < 0.05] = -0.0
        wide = random.random(nchw) < 0.5
        values[wide] = random.standard_normal(int(wide.sum())) * 30
    else:
        wide = random.random(nchw) < 0.5
        values[wide] = random.integers(-128, 128, int(wide.sum()))
    return values


def _bytes(nbytes: int, device: str, fill: int) -> torch.Tensor:
    """Poisoned memory: what a kernel does not write is told by it."""
    return torch.full((nbytes,), fill, dtype=torch.uint8, device=device)


def _upload(values: npt.NDArray[Any], layout: Layout, device: str) -> torch.Tensor:
    # Padding is poisoned, too: kernels must not let it through.
    memory = np.array(to_layout(values, layout, padding=77)).reshape(-1).view(np.uint8)
    return torch.from_numpy(memory).to(device)


def _download(
    memory: torch.Tensor, dtype: str, layout: Layout, nchw: tuple[int, int, int, int]
) -> npt.NDArray[Any]:
    return from_layout(memory.cpu().numpy().view(_NUMPY[dtype]), layout, nchw)


def _same_bits(left: npt.NDArray[Any], right: npt.NDArray[Any]) -> bool:
    number = np.dtype(f"u{left.dtype.itemsize}")
    both_nan = np.zeros(left.shape, bool)
    if left.dtype.kind == "f":
        both_nan = np.isnan(left) & np.isnan(right)
    return bool(((left.view(number) == right.view(number)) | both_nan).all())


def _reference_pool(values: npt.NDArray[Any], device: str) -> tuple[Any, Any]:
    """PyTorch's maxima and places 0..3, on the device."""
    # Exact in FP32; and PyTorch pools no INT8 on CUDA.
    x = torch.from_numpy(values.astype(np.float32)).to(device)
    y, places = F.max_pool2d(x, 2, 2, ceil_mode=True, return_indices=True)
    width = values.shape[3]
    rows, columns = places // width, places % width
    index = 2 * (rows % 2) + columns % 2
    return y.cpu().numpy().astype(values.dtype), index.to(torch.int8).cpu().numpy()


def check_pool(
    operations: KernelOperations, variant: Variant, nchw: tuple[int, int, int, int], device: str
) -> bool:
    """Whether a pooling kernel gives PyTorch's maxima, to the bit, and places."""
    values = _values(variant, nchw, seed=sum(nchw))
    small = (*nchw[:2], *pooled_hw(*nchw[2:]))
    x = _upload(values, variant.layout, device)
    y = _bytes(storage_bytes(variant.dtype, variant.layout, small), device, 0x5A)
    index = _bytes(storage_bytes("int8", variant.index_layout, small), device, 0x5A)
    call = pool_launch(variant, nchw, x.data_ptr(), y.data_ptr(), index.data_ptr())
    operations.launch(call, x)
    want_y, want_index = _reference_pool(values, device)
    got_y = _download(y, variant.dtype, variant.layout, small)
    got_index = _download(index, "int8", variant.index_layout, small)
    return _same_bits(got_y, want_y) and bool((got_index == want_index).all())


def check_unpool(
    operations: KernelOperations, variant: Variant, nchw: tuple[int, int, int, int], device: str
) -> bool:
    """Whether an unpooling kernel gives PyTorch's map, to the bit; `nchw` is the large shape."""
    n, c, height, width = nchw
    small = (n, c, *pooled_hw(height, width))
    crop_hw = (height % 2, width % 2)
    values = _values(variant, small, seed=sum(nchw))
    random = np.random.default_rng(sum(nchw) + 1)
    rows = random.integers(0, 2, small)
    columns = random.integers(0, 2, small)
    # A window that an odd side cuts has no second row, or column.
    if crop_hw[0]:
        rows[:, :, -1] = 0
    if crop_hw[1]:
        columns[:, :, :, -1] = 0
    index = (2 * rows + columns).astype(np.int8)
    x = _upload(values, variant.layout, device)
    places = _upload(index, variant.index_layout, device)
    y = _bytes(storage_bytes(variant.dtype, variant.layout, nchw), device, 0x5A)
    addresses = (x.data_ptr(), places.data_ptr(), y.data_ptr())
    operations.launch(unpool_launch(variant, small, crop_hw, *addresses), x)
    got = _download(y, variant.dtype, variant.layout, nchw)
    window_rows = 2 * np.arange(small[2])[:, None] + rows
    flat = window_rows * width + 2 * np.arange(small[3]) + columns
    source = torch.from_numpy(values.astype(np.float32)).to(device)
    where = torch.from_numpy(flat.astype(np.int64)).to(device)
    want = F.max_unpool2d(source, where, [2, 2], [2, 2], output_size=[height, width])
    return _same_bits(got, want.cpu().numpy().astype(values.dtype))


def copy_gb_s(nbytes: int, device: str) -> dict[str, float]:
    """Bandwidth of device-to-device copies that move `nbytes`: half read, half written, in GB/s.

    Both of the driver's copy and of a PyTorch kernel that copies, since the faster one differs.
    """
    half = max(nbytes // 2 // 16 * 16, 16)
    sets = _sets(nbytes, device)
    buffers = [
        (_bytes(half, device, 1), torch.randint(0, 255, (half,), dtype=torch.uint8, device=device))
        for _ in range(sets)
    ]
    # `copy_` between equal types is the driver's copy; a kernel that reads and writes is not.
    wide = [(to.view(torch.int64), source.view(torch.int64)) for to, source in buffers]
    launches = _launches(nbytes)
    driver = [lambda t=to, s=source: t.copy_(s) for to, source in buffers]
    kernel = [lambda t=to, s=source: torch.bitwise_not(s, out=t) for to, source in wide]
    return {
        "driver_gb_s": 2 * half / device_ms(driver, device, launches=launches) / 1e6,
        "kernel_gb_s": 2 * half / device_ms(kernel, device, launches=launches) / 1e6,
    }


def _launches(nbytes: int) -> int:
    return min(max(_ROUND_BYTES // nbytes, 4), 40)


def _sets(nbytes: int, device: str) -> int:
    return 1 if device == "cpu" else min(max(_ROTATION_BYTES // nbytes, 2), 64)


def _traffic(variant: Variant, nchw: tuple[int, int, int, int]) -> tuple[int, int, int]:
    """Bytes of the large map, the small map and the index map."""
    small = (*nchw[:2], *pooled_hw(*nchw[2:]))
    return (
        storage_bytes(variant.dtype, variant.layout, nchw),
        storage_bytes(variant.dtype, variant.layout, small),
        storage_bytes("int8", variant.index_layout, small),
    )


def bandwidth(
    operations: KernelOperations, variant: Variant, nchw: tuple[int, int, int, int], device: str
) -> dict[str, Any]:
    """Milliseconds and GB/s of a kernel, and the same of a copy that moves as many bytes."""
    sizes = _traffic(variant, nchw)
    moved = sum(sizes)
    small = (*nchw[:2], *pooled_hw(*nchw[2:]))
    crop_hw = (nchw[2] % 2, nchw[3] % 2)
    runs: list[Callable[[], None]] = []
    for _ in range(_sets(moved, device)):
        # Random bytes: an all-zero map would compress, and predict well.
        large, little, index = (
            torch.randint(0, 256, (size,), dtype=torch.uint8, device=device) for size in sizes
        )
        places = index.remainder_(4) if variant.op == "unpool" else index
        memory = (large.data_ptr(), little.data_ptr(), places.data_ptr())
        if variant.op == "pool":
            call = pool_launch(variant, nchw, *memory)
        else:
            call = unpool_launch(variant, small, crop_hw, memory[1], memory[2], memory[0])
        keep = (large, little, places)
        runs.append(lambda call=call, keep=keep: operations.launch(call, keep[0]))  # type: ignore[misc]
    ms = device_ms(runs, device, launches=_launches(moved))
    del runs
    copy = copy_gb_s(moved, device)
    best_copy = max(copy.values())
    achieved = moved / ms / 1e6
    return {
        "op": variant.op,
        "variant": variant.symbol,
        "nchw": nchw,
        "bytes": moved,
        "ms": round(ms, 5),
        "gb_s": round(achieved, 1),
        "copy": copy,
        "of_copy": round(achieved / best_copy, 3),
    }


def _plan(settings: Settings) -> list[tuple[Variant, tuple[int, int, int, int]]]:
    """What to time: every size for the variants that the networks use, two for the others."""
    if settings.dry:
        return [(variant, (1, 32, 10, 16)) for variant in variants()]
    plan: list[tuple[Variant, tuple[int, int, int, int]]] = []
    for variant in variants():
        ours = variant.layout is Layout.HWC8 and variant.index_layout is Layout.HWC16
        shapes = [_LARGE_SHAPE, (8, *_SEGNET_SHAPES[0])]
        if ours and not settings.quick:
            shapes += [(n, *shape) for n in settings.batches for shape in _SEGNET_SHAPES]
        plan += [(variant, shape) for shape in dict.fromkeys(shapes)]
    # The networks' own first, in case time runs out.
    return sorted(plan, key=lambda item: item[0].layout is not Layout.HWC8)


def kernels(recorder: Recorder) -> None:
    """The step: load, check every variant, time those that are right."""
    settings = recorder.settings
    operations = load_operations(settings.device)
    recorder.put("operations", operations.name)
    right: dict[str, bool] = {}
    checks = {"pool": check_pool, "unpool": check_unpool}
    failures: list[str] = []
    for variant in variants():
        check = checks[variant.op]
        for nchw in _PARITY_SHAPES:
            good = check(operations, variant, nchw, settings.device)
            right[variant.symbol] = right.get(variant.symbol, True) and good
            if not good:
                failures.append(f"{variant.symbol} {nchw}")
    recorder.put("parity", {"shapes": _PARITY_SHAPES, "kernels": right, "failures": failures})
    rows: list[dict[str, Any]] = []
    for variant, nchw in _plan(settings):
        if right[variant.symbol] and recorder.left_s > 3:
            rows.append(bandwidth(operations, variant, nchw, settings.device))
            recorder.put("bandwidth", rows)
    if failures:
        raise AssertionError(f"kernels disagree with PyTorch: {', '.join(failures)}")
