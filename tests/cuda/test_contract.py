"""What every implementation of `Cuda` does, over stand-ins that move host memory.

`test_real_bindings.py` runs these again over the real Python bindings.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from roadseg.core.errors import BackendError
from roadseg.cuda.api import Cuda, Kernel, PinnedBuffer, Stream

KINDS = ["simulated", "bindings", "pycuda"]
if os.environ.get("ROADSEG_TEST_FAKE_LIBCUDA"):
    KINDS = ["fake-libcuda"]

CPU = 'or use backend="openvino"'
CAPTURE = (
    "a CUDA graph cannot be captured while {} (CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED): report it; "
    'until then use backend="openvino"'
)


@pytest.fixture(params=KINDS)
def cuda(request: pytest.FixtureRequest, make_cuda: Callable[[str], Any]) -> Cuda:
    return make_cuda(request.param).cuda


@pytest.fixture
def graphs(cuda: Cuda) -> Cuda:
    if not cuda.supports_graphs:
        pytest.skip("pycuda has no graphs")
    return cuda


def fill_args(pointer: int, count: int, value: float, offset: int) -> list[Any]:
    return [
        ctypes.c_void_p(pointer),
        ctypes.c_int(count),
        ctypes.c_float(value),
        ctypes.c_int64(offset),
    ]


def load_fill(cuda: Cuda) -> Kernel:
    return cuda.load_kernels(b"// fill", ["fill"])["fill"]


class RoundTrip:
    """Up, a kernel, down: 100 bytes."""

    def __init__(self, cuda: Cuda) -> None:
        self.cuda = cuda
        self.fill = load_fill(cuda)
        self.device = cuda.malloc(100)
        self.up: PinnedBuffer = cuda.pinned(100)
        self.down: PinnedBuffer = cuda.pinned(100)
        self.up.array[:] = np.arange(100)
        self.down.array[:] = 0

    def enqueue(self, stream: Stream) -> None:
        self.cuda.copy_to_device(self.device.pointer, self.up.pointer, 100, stream)
        args = fill_args(self.device.pointer, 10, 21.5, 20)
        self.fill.launch((1, 1, 1), (32, 1, 1), args, stream.handle)
        # A launch has read its parameters when it returns.
        args[1].value = 99
        self.cuda.copy_to_host(self.down.pointer, self.device.pointer, 100, stream)

    @property
    def expected(self) -> np.ndarray:
        expected = self.up.array.copy()
        expected[20:30] = 43
        return expected

    def close(self) -> None:
        for buffer in (self.device, self.up, self.down):
            buffer.free()


def test_device(cuda: Cuda) -> None:
    assert cuda.device.index == 0
    assert cuda.device.name in ("Simulated GPU", "Fake GPU")
    assert cuda.device.compute_capability == (8, 9)
    assert cuda.device.total_bytes == 64 * 2**20
    assert cuda.device.driver_cuda == (13, 0)


def test_bytes_go_up_through_a_kernel_and_down(cuda: Cuda) -> None:
    stream, trip = cuda.stream(), RoundTrip(cuda)
    trip.enqueue(stream)
    stream.synchronize()
    np.testing.assert_array_equal(trip.down.array, trip.expected)
    trip.close()
    stream.close()


def test_streams_wait_for_events_of_others(cuda: Cuda) -> None:
    first, second, event = cuda.stream(), cuda.stream(), cuda.event()
    trip = RoundTrip(cuda)
    cuda.copy_to_device(trip.device.pointer, trip.up.pointer, 100, first)
    event.record(first)
    second.wait(event)
    cuda.copy_to_host(trip.down.pointer, trip.device.pointer, 100, second)
    second.synchronize()
    np.testing.assert_array_equal(trip.down.array, trip.up.array)
    trip.close()
    for thing in (event, first, second):
        thing.close()
        thing.close()


def test_the_host_waits_for_an_event(cuda: Cuda) -> None:
    stream, event, trip = cuda.stream(), cuda.event(), RoundTrip(cuda)
    trip.enqueue(stream)
    event.record(stream)
    event.synchronize()
    np.testing.assert_array_equal(trip.down.array, trip.expected)
    trip.close()
    event.close()
    stream.close()


def test_an_event_that_was_never_recorded_holds_nobody_up(cuda: Cuda) -> None:
    stream, event = cuda.stream(), cuda.event()
    stream.wait(event)
    stream.synchronize()
    event.synchronize()
    event.close()
    stream.close()


def test_events_measure(cuda: Cuda) -> None:
    stream, trip = cuda.stream(), RoundTrip(cuda)
    before, after = cuda.event(timing=True), cuda.event(timing=True)
    before.record(stream)
    trip.enqueue(stream)
    after.record(stream)
    after.synchronize()
    assert after.elapsed_ms(before) == pytest.approx(0.003, abs=1e-6)
    trip.close()
    for thing in (before, after, stream):
        thing.close()


def test_events_without_timing_do_not_measure(cuda: Cuda) -> None:
    first, second = cuda.event(), cuda.event(timing=True)
    with pytest.raises(BackendError) as error:
        second.elapsed_ms(first)
    assert str(error.value) == (
        "CUDA failed while measuring the time between two events (CUDA_ERROR_INVALID_HANDLE): "
        f"look at 'nvidia-smi', {CPU}"
    )
    first.close()
    second.close()


def test_events_that_were_not_reached_do_not_measure(cuda: Cuda) -> None:
    first, second = cuda.event(timing=True), cuda.event(timing=True)
    with pytest.raises(BackendError, match="CUDA_ERROR_NOT_READY"):
        second.elapsed_ms(first)
    first.close()
    second.close()


def test_a_captured_round_trip_runs_at_every_launch(graphs: Cuda) -> None:
    stream, trip = graphs.stream(), RoundTrip(graphs)
    graphs.begin_capture(stream)
    trip.enqueue(stream)
    graph = graphs.end_capture(stream)
    stream.synchronize()
    assert not trip.down.array.any()
    for start in (0, 100, 7):
        trip.up.array[:] = (np.arange(100) + start).astype(np.uint8)
        graph.launch(stream)
        stream.synchronize()
        np.testing.assert_array_equal(trip.down.array, trip.expected)
    trip.close()
    graph.close()
    graph.close()
    with pytest.raises(BackendError, match="launching a CUDA graph .CUDA_ERROR_INVALID_HANDLE"):
        graph.launch(stream)
    stream.close()


@pytest.mark.parametrize(
    ("doing", "call"),
    [
        ("allocating device memory", lambda cuda, stream: cuda.malloc(8)),
        ("page-locking host memory", lambda cuda, stream: cuda.pinned(8)),
        ("loading the kernels", lambda cuda, stream: cuda.load_kernels(b"// fill", ["fill"])),
        ("waiting for a stream", lambda cuda, stream: stream.synchronize()),
    ],
)
def test_a_capture_forbids(graphs: Cuda, doing: str, call: Callable[[Cuda, Stream], Any]) -> None:
    stream = graphs.stream()
    graphs.begin_capture(stream)
    with pytest.raises(BackendError) as error:
        call(graphs, stream)
    message = str(error.value).replace(", 8 bytes", "")
    assert message == CAPTURE.format(doing)
    graphs.end_capture(stream).close()
    stream.close()


def test_a_capture_ends_where_it_began(graphs: Cuda) -> None:
    stream = graphs.stream()
    with pytest.raises(BackendError, match="ending a capture .CUDA_ERROR_ILLEGAL_STATE"):
        graphs.end_capture(stream)
    stream.close()


def test_out_of_memory(cuda: Cuda) -> None:
    buffer = cuda.malloc(40 * 2**20)
    assert cuda.memory_info() == (24 * 2**20, 64 * 2**20)
    with pytest.raises(BackendError) as error:
        cuda.malloc(24 * 2**20 + 1)
    assert str(error.value) == (
        "GPU out of memory (25 MiB needed, 24 MiB free): use a smaller size_hw or batch, or close "
        "other programs"
    )
    buffer.free()
    buffer.free()
    assert cuda.memory_info() == (64 * 2**20, 64 * 2**20)
    buffer = cuda.malloc(64 * 2**20)
    assert buffer.nbytes == 64 * 2**20
    assert buffer.pointer % 256 == 0
    buffer.free()


def test_nothing_can_be_allocated_of_no_size(cuda: Cuda) -> None:
    with pytest.raises(BackendError, match="allocating device memory, 0 bytes .CUDA_ERROR_INVALID"):
        cuda.malloc(0)


def test_pinned_memory_is_an_array(cuda: Cuda) -> None:
    buffer = cuda.pinned(50)
    assert buffer.array.shape == (50,)
    assert buffer.array.dtype == np.uint8
    assert buffer.array.flags.writeable
    assert buffer.array.ctypes.data == buffer.pointer
    buffer.free()
    buffer.free()
    with pytest.raises(BackendError, match="using pinned memory that was given back"):
        _ = buffer.array


@pytest.mark.parametrize(
    ("image", "names", "doing", "code"),
    [
        (b"", ["fill"], "loading the kernels", "CUDA_ERROR_INVALID_IMAGE"),
        (b"rubbish", ["fill"], "loading the kernels", "CUDA_ERROR_INVALID_IMAGE"),
        (b"// fill", ["fill", "x"], "looking for the kernel x", "CUDA_ERROR_NOT_FOUND"),
    ],
)
def test_kernels_that_cannot_be_loaded(
    cuda: Cuda, image: bytes, names: Sequence[str], doing: str, code: str
) -> None:
    if cuda.name == "simulated" and image:
        pytest.skip("the simulation does not read the image")
    with pytest.raises(BackendError) as error:
        cuda.load_kernels(image, names)
    assert str(error.value) == (f"CUDA failed while {doing} ({code}): look at 'nvidia-smi', {CPU}")


def test_a_launch_without_threads_is_refused(cuda: Cuda) -> None:
    stream, fill = cuda.stream(), load_fill(cuda)
    assert fill.name == "fill"
    with pytest.raises(BackendError) as error:
        fill.launch((0, 1, 1), (32, 1, 1), fill_args(0, 0, 0, 0), stream.handle)
    assert str(error.value) == (
        "CUDA failed while starting the kernel fill (CUDA_ERROR_INVALID_VALUE): look at "
        f"'nvidia-smi', {CPU}"
    )
    stream.close()


def test_other_threads_make_the_context_current(cuda: Cuda) -> None:
    seen: list[Any] = []

    def work() -> None:
        cuda.make_current()
        stream, event, trip = cuda.stream(), cuda.event(), RoundTrip(cuda)
        trip.enqueue(stream)
        event.record(stream)
        event.synchronize()
        seen.append((trip.down.array.copy(), trip.expected))
        trip.close()
        event.close()
        stream.close()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    np.testing.assert_array_equal(*seen[0])


def test_what_one_thread_made_another_frees(cuda: Cuda) -> None:
    trip, stream, event = RoundTrip(cuda), cuda.stream(), cuda.event()
    failures: list[BackendError] = []

    def work() -> None:
        try:
            cuda.make_current()
            trip.close()
            stream.close()
            event.close()
        except BackendError as exc:
            failures.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert cuda.memory_info() == (64 * 2**20, 64 * 2**20)


def test_nothing_works_after_close(cuda: Cuda) -> None:
    cuda.close()
    cuda.close()
    with pytest.raises(BackendError, match="CUDA_ERROR_CONTEXT_IS_DESTROYED"):
        cuda.make_current()
