"""What `SimulatedCuda` is stricter about than a GPU."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

import numpy as np
import pytest

from roadseg.core.errors import BackendError
from roadseg.cuda.api import Cuda
from roadseg.testing.cuda import SimulatedCuda

CPU = 'or use backend="openvino"'


def fill(grid: Any, block: Any, args: Any) -> None:
    ctypes.memset(args[0].value, args[1].value, args[2].value)


@pytest.fixture
def cuda() -> SimulatedCuda:
    return SimulatedCuda({"fill": fill}, total_bytes=2**20)


def launch(cuda: SimulatedCuda, pointer: int, value: int, count: int, stream_handle: int) -> None:
    kernel = cuda.load_kernels(b"x", ["fill"])["fill"]
    args = [ctypes.c_void_p(pointer), ctypes.c_int(value), ctypes.c_int(count)]
    kernel.launch((1, 1, 1), (1, 1, 1), args, stream_handle)


def test_it_is_a_cuda(cuda: SimulatedCuda) -> None:
    typed: Cuda = cuda
    assert typed.name == "simulated"
    assert typed.supports_graphs


def test_what_it_is_told_to_be() -> None:
    cuda = SimulatedCuda(compute_capability=(7, 5), total_bytes=123)
    assert cuda.device.compute_capability == (7, 5)
    assert cuda.memory_info() == (123, 123)
    with pytest.raises(BackendError) as error:
        SimulatedCuda(index=1)
    assert (
        str(error.value)
        == "there is no GPU 1: this process sees GPU 0: name one that 'nvidia-smi -L' lists"
    )


def test_results_that_nobody_waited_for_are_not_there(cuda: SimulatedCuda) -> None:
    stream, device, host = cuda.stream(), cuda.malloc(4), cuda.pinned(4)
    launch(cuda, device.pointer, 5, 4, stream.handle)
    cuda.copy_to_host(host.pointer, device.pointer, 4, stream)
    assert host.array.tolist() == [0xCD] * 4
    stream.synchronize()
    assert host.array.tolist() == [5] * 4


def test_inputs_that_were_changed_too_early_are_the_new_ones(cuda: SimulatedCuda) -> None:
    stream, device, host = cuda.stream(), cuda.malloc(4), cuda.pinned(4)
    host.array[:] = 1
    cuda.copy_to_device(device.pointer, host.pointer, 4, stream)
    host.array[:] = 2
    cuda.copy_to_host(host.pointer, device.pointer, 4, stream)
    stream.synchronize()
    assert host.array.tolist() == [2] * 4


def test_a_stream_that_does_not_wait_for_another_does_not_see_its_work(cuda: SimulatedCuda) -> None:
    first, second, event = cuda.stream(), cuda.stream(), cuda.event()
    device, host = cuda.malloc(4), cuda.pinned(4)
    launch(cuda, device.pointer, 5, 4, first.handle)
    event.record(first)
    cuda.copy_to_host(host.pointer, device.pointer, 4, second)
    second.synchronize()
    assert host.array.tolist() == [0xCD] * 4
    second.wait(event)
    cuda.copy_to_host(host.pointer, device.pointer, 4, second)
    second.synchronize()
    assert host.array.tolist() == [5] * 4


def test_waiting_means_what_was_recorded_when_it_was_asked_for(cuda: SimulatedCuda) -> None:
    first, second, event = cuda.stream(), cuda.stream(), cuda.event()
    device, host = cuda.malloc(4), cuda.pinned(4)
    launch(cuda, device.pointer, 5, 4, first.handle)
    event.record(first)
    second.wait(event)
    launch(cuda, device.pointer, 6, 4, first.handle)
    event.record(first)
    cuda.copy_to_host(host.pointer, device.pointer, 4, second)
    second.synchronize()
    assert host.array.tolist() == [5] * 4


def test_chains_of_any_length(cuda: SimulatedCuda) -> None:
    streams = [cuda.stream(), cuda.stream()]
    device, host = cuda.malloc(4), cuda.pinned(4)
    for number in range(5000):
        stream, other = streams[number % 2], streams[1 - number % 2]
        event = cuda.event()
        launch(cuda, device.pointer, number % 256, 4, stream.handle)
        event.record(stream)
        other.wait(event)
        event.close()
    cuda.copy_to_host(host.pointer, device.pointer, 4, streams[0])
    streams[0].synchronize()
    assert host.array.tolist() == [4999 % 256] * 4


def test_work_of_a_closed_stream_still_happens_for_those_who_wait(cuda: SimulatedCuda) -> None:
    stream, event, device = cuda.stream(), cuda.event(), cuda.malloc(4)
    launch(cuda, device.pointer, 5, 4, stream.handle)
    event.record(stream)
    stream.close()
    event.synchronize()
    assert ctypes.string_at(device.pointer, 4) == b"\5\5\5\5"
    with pytest.raises(BackendError, match="waiting for a stream .CUDA_ERROR_INVALID_HANDLE"):
        stream.synchronize()


def test_new_memory_is_rubbish_and_old_memory_too(cuda: SimulatedCuda) -> None:
    buffer = cuda.malloc(4)
    assert ctypes.string_at(buffer.pointer, 4) == b"\xcd" * 4
    buffer.free()
    assert ctypes.string_at(buffer.pointer, 4) == b"\xdd" * 4


def test_allocations_and_leaks_are_counted(cuda: SimulatedCuda) -> None:
    assert (cuda.allocations, cuda.live_bytes, cuda.live_objects) == (0, 0, 0)
    things = [cuda.malloc(100), cuda.pinned(50), cuda.stream(), cuda.event()]
    assert (cuda.allocations, cuda.live_bytes, cuda.live_objects) == (2, 100, 4)
    for thing in things:
        for _ in range(2):
            thing.close() if hasattr(thing, "close") else thing.free()
    assert (cuda.allocations, cuda.live_bytes, cuda.live_objects) == (2, 0, 0)


def test_calls_are_counted(cuda: SimulatedCuda) -> None:
    stream, event, device, host = cuda.stream(), cuda.event(), cuda.malloc(4), cuda.pinned(4)
    cuda.begin_capture(stream)
    cuda.copy_to_device(device.pointer, host.pointer, 4, stream)
    launch_args = cuda.calls.copy()
    graph = cuda.end_capture(stream)
    graph.launch(stream)
    cuda.copy_to_host(host.pointer, device.pointer, 4, stream)
    event.record(stream)
    event.synchronize()
    stream.synchronize()
    assert launch_args["begin_capture"] == 1
    assert dict(cuda.calls) == {
        "stream": 1,
        "event": 1,
        "malloc": 1,
        "pinned": 1,
        "begin_capture": 1,
        "copy_to_device": 1,
        "graph_launch": 1,
        "copy_to_host": 1,
        "synchronize": 2,
    }


@pytest.mark.parametrize(
    ("device_offset", "host_offset", "nbytes", "what"),
    [
        (1, 0, 100, "no such device memory"),
        (0, 1, 100, "no such pinned memory"),
        (-1, 0, 10, "no such device memory"),
        (0, 0, 101, "no such device memory"),
    ],
)
def test_copies_stay_inside_their_buffers(
    cuda: SimulatedCuda, device_offset: int, host_offset: int, nbytes: int, what: str
) -> None:
    stream, device, host = cuda.stream(), cuda.malloc(100), cuda.pinned(100)
    with pytest.raises(BackendError) as error:
        cuda.copy_to_device(
            device.pointer + device_offset, host.pointer + host_offset, nbytes, stream
        )
    assert str(error.value) == (
        f"CUDA failed while copying {nbytes} bytes to the GPU: {what} (CUDA_ERROR_INVALID_VALUE): "
        f"look at 'nvidia-smi', {CPU}"
    )


def test_copies_need_pinned_memory(cuda: SimulatedCuda) -> None:
    stream, device, pageable = cuda.stream(), cuda.malloc(100), np.zeros(100, np.uint8)
    with pytest.raises(BackendError, match="from the GPU: no such pinned memory"):
        cuda.copy_to_host(pageable.ctypes.data, device.pointer, 100, stream)


def test_memory_that_is_freed_before_its_copy_ran(cuda: SimulatedCuda) -> None:
    stream, device, host = cuda.stream(), cuda.malloc(100), cuda.pinned(100)
    cuda.copy_to_device(device.pointer, host.pointer, 100, stream)
    device.free()
    with pytest.raises(BackendError, match="to the GPU: no such device memory"):
        stream.synchronize()


def test_threads_that_did_not_make_the_context_current(cuda: SimulatedCuda) -> None:
    messages: list[str] = []

    def work() -> None:
        for call in (cuda.stream, cuda.event, cuda.memory_info, lambda: cuda.malloc(4)):
            with pytest.raises(BackendError) as error:
                call()
            messages.append(str(error.value))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    doings = (
        "creating a stream",
        "creating an event",
        "asking for the free memory",
        "allocating device memory",
    )
    assert messages == [
        f"CUDA failed while {doing} (CUDA_ERROR_INVALID_CONTEXT): look at 'nvidia-smi', {CPU}"
        for doing in doings
    ]


def test_streams_that_fork_in_a_capture_are_part_of_it(cuda: SimulatedCuda) -> None:
    main, side = cuda.stream(), cuda.stream()
    fork, join = cuda.event(), cuda.event()
    first, second, host = cuda.malloc(4), cuda.malloc(4), cuda.pinned(4)
    kernel = cuda.load_kernels(b"x", ["fill"])["fill"]

    def put(pointer: int, value: int, handle: int) -> None:
        args = [ctypes.c_void_p(pointer), ctypes.c_int(value), ctypes.c_int(4)]
        kernel.launch((1, 1, 1), (1, 1, 1), args, handle)

    cuda.begin_capture(main)
    put(first.pointer, 1, main.handle)
    fork.record(main)
    side.wait(fork)
    put(second.pointer, 2, side.handle)
    join.record(side)
    main.wait(join)
    cuda.copy_to_host(host.pointer, second.pointer, 4, main)
    graph = cuda.end_capture(main)
    for value in (9, 8):
        ctypes.memset(second.pointer, value, 4)
        graph.launch(main)
        main.synchronize()
        assert host.array.tolist() == [2] * 4
    # Afterwards the side stream is an ordinary one again.
    put(second.pointer, 3, side.handle)
    side.synchronize()
    assert ctypes.string_at(second.pointer, 4) == b"\3\3\3\3"


def test_a_capture_whose_streams_do_not_join(cuda: SimulatedCuda) -> None:
    main, side, fork = cuda.stream(), cuda.stream(), cuda.event()
    device, host = cuda.malloc(4), cuda.pinned(4)
    cuda.begin_capture(main)
    fork.record(main)
    side.wait(fork)
    cuda.copy_to_device(device.pointer, host.pointer, 4, side)
    with pytest.raises(BackendError, match="ending a capture .CUDA_ERROR_STREAM_CAPTURE_UNJOINED"):
        cuda.end_capture(main)


def test_a_capture_does_not_wait_for_what_is_outside(cuda: SimulatedCuda) -> None:
    main, other, event = cuda.stream(), cuda.stream(), cuda.event()
    event.record(other)
    cuda.begin_capture(main)
    with pytest.raises(BackendError, match="a stream wait .CUDA_ERROR_STREAM_CAPTURE_ISOLATION"):
        main.wait(event)


@pytest.mark.parametrize("what", ["device", "pinned", "event", "capture"])
def test_a_capture_forbids_also(cuda: SimulatedCuda, what: str) -> None:
    stream, event = cuda.stream(), cuda.event()
    calls = {
        "device": cuda.malloc(4).free,
        "pinned": cuda.pinned(4).free,
        "event": event.synchronize,
        "capture": lambda: cuda.begin_capture(stream),
    }
    cuda.begin_capture(stream)
    with pytest.raises(BackendError, match="CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"):
        calls[what]()


def test_other_libraries_give_streams_work_by_handle(cuda: SimulatedCuda) -> None:
    stream, done = cuda.stream(), []
    cuda.enqueue(stream.handle, lambda: done.append("later"))
    assert done == []
    stream.synchronize()
    assert done == ["later"]


def test_streams_of_others_run_at_once(cuda: SimulatedCuda) -> None:
    device = cuda.malloc(4)
    launch(cuda, device.pointer, 7, 4, 0x1234)
    assert ctypes.string_at(device.pointer, 4) == b"\7\7\7\7"


def test_closed_streams_are_not_somebody_elses(cuda: SimulatedCuda) -> None:
    stream, device = cuda.stream(), cuda.malloc(4)
    stream.close()
    with pytest.raises(BackendError, match="starting the kernel fill .CUDA_ERROR_INVALID_HANDLE"):
        launch(cuda, device.pointer, 7, 4, stream.handle)


def test_kernels_that_are_not_there(cuda: SimulatedCuda) -> None:
    with pytest.raises(BackendError) as error:
        cuda.load_kernels(b"x", ["fill", "other"])
    assert str(error.value) == (
        "CUDA failed while looking for the kernel other (CUDA_ERROR_NOT_FOUND): look at "
        f"'nvidia-smi', {CPU}"
    )


def test_too_many_threads_in_a_block(cuda: SimulatedCuda) -> None:
    kernel = cuda.load_kernels(b"x", ["fill"])["fill"]
    with pytest.raises(BackendError, match="starting the kernel fill .CUDA_ERROR_INVALID_VALUE"):
        kernel.launch((1, 1, 1), (1025, 1, 1), [], cuda.stream().handle)
