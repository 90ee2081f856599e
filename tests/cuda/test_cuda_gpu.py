"""The contract on a real GPU, through whichever library is installed."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from roadseg.backends.gpu import has_nvidia_driver
from roadseg.core.errors import BackendError
from roadseg.cuda.api import Cuda
from roadseg.cuda.load import load_cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not has_nvidia_driver(), reason="needs an NVIDIA GPU"),
]

NBYTES = 1 << 20
SOURCE = """
extern "C" __global__ void add(unsigned char *data, int count, float value, long long offset) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < count) data[offset + i] += (unsigned char)(2 * value);
}
"""


@pytest.fixture(scope="module")
def cuda() -> Iterator[Cuda]:
    cuda = load_cuda()
    yield cuda
    cuda.close()


@pytest.fixture(scope="module")
def add(cuda: Cuda) -> Any:
    from roadseg.kernels.nvrtc import compile_kernels

    image = compile_kernels(cuda.device.compute_capability, text=SOURCE, cache=False)
    return cuda.load_kernels(image, ["add"])["add"]


class RoundTrip:
    """Up, a kernel, down."""

    def __init__(self, cuda: Cuda, add: Any) -> None:
        self.cuda, self.add = cuda, add
        self.device = cuda.malloc(NBYTES)
        self.up, self.down = cuda.pinned(NBYTES), cuda.pinned(NBYTES)
        self.up.array[:] = np.arange(NBYTES) % 251
        self.down.array[:] = 0

    def enqueue(self, stream: Any) -> None:
        self.cuda.copy_to_device(self.device.pointer, self.up.pointer, NBYTES, stream)
        args = [
            ctypes.c_void_p(self.device.pointer),
            ctypes.c_int(NBYTES - 512),
            ctypes.c_float(1.5),
            ctypes.c_int64(256),
        ]
        self.add.launch((NBYTES // 256, 1, 1), (256, 1, 1), args, stream.handle)
        self.cuda.copy_to_host(self.down.pointer, self.device.pointer, NBYTES, stream)

    @property
    def expected(self) -> np.ndarray:
        expected = self.up.array.copy()
        expected[256:-256] += 3
        return expected

    def close(self) -> None:
        for buffer in (self.device, self.up, self.down):
            buffer.free()


def test_device(cuda: Cuda) -> None:
    device = cuda.device
    free, total = cuda.memory_info()
    assert device.name
    assert device.compute_capability >= (5, 0)
    assert device.driver_cuda >= (12, 0)
    assert 0 < free <= total <= device.total_bytes


def test_round_trip(cuda: Cuda, add: Any) -> None:
    stream, trip = cuda.stream(), RoundTrip(cuda, add)
    trip.enqueue(stream)
    stream.synchronize()
    np.testing.assert_array_equal(trip.down.array, trip.expected)
    trip.close()
    stream.close()


def test_two_streams_and_timing(cuda: Cuda, add: Any) -> None:
    first, second = cuda.stream(), cuda.stream()
    before, after = cuda.event(timing=True), cuda.event(timing=True)
    trip = RoundTrip(cuda, add)
    before.record(first)
    cuda.copy_to_device(trip.device.pointer, trip.up.pointer, NBYTES, first)
    after.record(first)
    second.wait(after)
    cuda.copy_to_host(trip.down.pointer, trip.device.pointer, NBYTES, second)
    second.synchronize()
    np.testing.assert_array_equal(trip.down.array, trip.up.array)
    assert 0 < after.elapsed_ms(before) < 10_000
    trip.close()
    for thing in (before, after, first, second):
        thing.close()


def test_graph(cuda: Cuda, add: Any) -> None:
    if not cuda.supports_graphs:
        pytest.skip("pycuda has no graphs")
    stream, trip = cuda.stream(), RoundTrip(cuda, add)
    cuda.begin_capture(stream)
    trip.enqueue(stream)
    graph = cuda.end_capture(stream)
    stream.synchronize()
    assert not trip.down.array.any()
    for start in (0, 7):
        trip.up.array[:] = (np.arange(NBYTES) + start) % 251
        graph.launch(stream)
        stream.synchronize()
        np.testing.assert_array_equal(trip.down.array, trip.expected)
    graph.close()
    trip.close()
    stream.close()


def test_another_thread(cuda: Cuda, add: Any) -> None:
    seen: list[Any] = []

    def work() -> None:
        cuda.make_current()
        stream, trip = cuda.stream(), RoundTrip(cuda, add)
        trip.enqueue(stream)
        stream.synchronize()
        seen.append((trip.down.array.copy(), trip.expected))
        trip.close()
        stream.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(*seen[0])


def test_out_of_memory(cuda: Cuda) -> None:
    with pytest.raises(
        BackendError, match=r"^GPU out of memory \(\d+\.\d GiB needed, .* free\): use"
    ):
        cuda.malloc(cuda.device.total_bytes * 2)


def test_a_kernel_that_is_not_there(cuda: Cuda) -> None:
    from roadseg.kernels.nvrtc import compile_kernels

    image = compile_kernels(cuda.device.compute_capability, text=SOURCE, cache=False)
    with pytest.raises(BackendError, match="looking for the kernel nope .CUDA_ERROR_NOT_FOUND"):
        cuda.load_kernels(image, ["nope"])


def test_rubbish_is_no_kernel(cuda: Cuda) -> None:
    with pytest.raises(BackendError, match="CUDA_ERROR_INVALID_(IMAGE|PTX)"):
        cuda.load_kernels(b"rubbish", ["add"])


def test_pytorch_uses_the_same_context(cuda: Cuda) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if not torch.cuda.is_available():
        pytest.skip("needs PyTorch with CUDA")
    stream, host = cuda.stream(), cuda.pinned(NBYTES)
    tensor = torch.full((NBYTES,), 5, dtype=torch.uint8, device="cuda")
    torch.cuda.synchronize()
    cuda.copy_to_host(host.pointer, tensor.data_ptr(), NBYTES, stream)
    stream.synchronize()
    assert (host.array == 5).all()
    host.free()
    stream.close()
