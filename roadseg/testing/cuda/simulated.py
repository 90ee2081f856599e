"""CUDA without a GPU: "device" memory is host memory, and work runs when someone waits for it.

    cuda = SimulatedCuda({"add_one": add_one})

For programs and tests that must run anywhere. It is stricter than a GPU: nothing that was given
to a stream happens before the host waits for it, new memory holds rubbish, copies must stay inside
live buffers and come from pinned memory, every thread must make the context current, and what a
capture forbids raises. So what works here does not work by luck.
"""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import count

import numpy as np
import numpy.typing as npt

from roadseg.cuda.api import DeviceBuffer, DeviceInfo, Graph, Kernel, PinnedBuffer, Stream
from roadseg.cuda.failure import cuda_error, no_such_gpu
from roadseg.testing.cuda.memory import Memory
from roadseg.testing.cuda.objects import (
    KernelFunction,
    SimulatedEvent,
    SimulatedGraph,
    SimulatedKernel,
    SimulatedStream,
)
from roadseg.testing.cuda.queues import Clock, Point, Queue, Wait, Work, is_joined


class SimulatedCuda:
    """CUDA in host memory; see the module.

    Args:
        kernels: what `load_kernels` finds, by name: functions of grid, block and the parameters
            (ctypes values), which read and write memory at the addresses among these.
        compute_capability: of the simulated GPU.
        total_bytes: of its memory; what does not fit raises as on a GPU.
        index: its number; there is only 0.

    Attributes:
        calls: how often each thing was done since the start: malloc, pinned, stream, event,
            synchronize, copy_to_device, copy_to_host, launch, graph_launch, begin_capture.
        live_objects: buffers, streams, events and graphs that were not given back.
        clock: simulated time.
    """

    name = "simulated"
    supports_graphs = True

    def __init__(
        self,
        kernels: Mapping[str, KernelFunction] | None = None,
        *,
        compute_capability: tuple[int, int] = (8, 9),
        total_bytes: int = 2 * 2**30,
        index: int = 0,
    ) -> None:
        if index != 0:
            raise no_such_gpu(index, 1)
        self._kernels = dict(kernels or {})
        self.device = DeviceInfo(index, "Simulated GPU", compute_capability, total_bytes, (13, 0))
        self.calls: Counter[str] = Counter()
        self.live_objects = 0
        self.clock = Clock()
        self._memory = Memory(total_bytes)
        self._handles = count(0x5000, 16)
        self._queues: dict[int, Queue] = {}
        self._gone: set[int] = set()
        self._capture: dict[int, Queue] = {}
        self._threads = {threading.get_ident()}
        self._closed = False

    @property
    def live_bytes(self) -> int:
        """Device memory that was not given back."""
        return self._memory.device_bytes

    @property
    def allocations(self) -> int:
        """How many buffers were ever made, pinned ones too: unchanged over a frame, one hopes."""
        return self.calls["malloc"] + self.calls["pinned"]

    def make_current(self) -> None:
        self._require_open("making the context current")
        self._threads.add(threading.get_ident())

    def memory_info(self) -> tuple[int, int]:
        self.require_current("asking for the free memory")
        return self._memory.free_bytes, self._memory.total_bytes

    def malloc(self, nbytes: int) -> DeviceBuffer:
        array = self._take(nbytes, "malloc", "allocating device memory")
        give_back = partial(self._give_back, array, "freeing device memory")
        return DeviceBuffer(array.ctypes.data, nbytes, give_back)

    def pinned(self, nbytes: int) -> PinnedBuffer:
        array = self._take(nbytes, "pinned", "page-locking host memory")
        return PinnedBuffer(array, partial(self._give_back, array, "freeing pinned memory"))

    def _take(self, nbytes: int, kind: str, doing: str) -> npt.NDArray[np.uint8]:
        self.forbid_in_capture(doing)
        self.require_current(doing)
        array = self._memory.take(nbytes, pinned=kind == "pinned")
        self.count(kind)
        self.live_objects += 1
        return array

    def _give_back(self, array: npt.NDArray[np.uint8], doing: str) -> None:
        self.forbid_in_capture(doing)
        self._memory.give_back(array)
        self.live_objects -= 1

    def stream(self) -> SimulatedStream:
        self.require_current("creating a stream")
        self.count("stream")
        self.live_objects += 1
        handle = next(self._handles)
        self._queues[handle] = Queue(self.clock)
        return SimulatedStream(self, handle)

    def event(self, *, timing: bool = False) -> SimulatedEvent:
        self.require_current("creating an event")
        self.count("event")
        self.live_objects += 1
        return SimulatedEvent(self, timing=timing)

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: Stream) -> None:
        self._copy("to the GPU", device, host, nbytes, stream)
        self.count("copy_to_device")

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: Stream) -> None:
        self._copy("from the GPU", device, host, nbytes, stream)
        self.count("copy_to_host")

    def load_kernels(self, image: bytes, names: Sequence[str]) -> dict[str, Kernel]:
        doing = "loading the kernels"
        self.forbid_in_capture(doing)
        self.require_current(doing)
        if not image:
            raise cuda_error("CUDA_ERROR_INVALID_IMAGE", doing)
        missing = [name for name in names if name not in self._kernels]
        if missing:
            raise cuda_error("CUDA_ERROR_NOT_FOUND", f"looking for the kernel {missing[0]}")
        return {name: SimulatedKernel(self, name, self._kernels[name]) for name in names}

    def begin_capture(self, stream: Stream) -> None:
        self.forbid_in_capture("beginning a capture")
        self.require_current("beginning a capture")
        self.count("begin_capture")
        self.queue_of(stream.handle, "beginning a capture")
        self._capture = {stream.handle: Queue(self.clock)}

    def end_capture(self, stream: Stream) -> Graph:
        self.require_current("ending a capture")
        if stream.handle not in self._capture:
            raise cuda_error("CUDA_ERROR_ILLEGAL_STATE", "ending a capture")
        lanes, self._capture = list(self._capture.values()), {}
        if not is_joined(lanes):
            # The first stream does not wait for the work of the others.
            raise cuda_error("CUDA_ERROR_STREAM_CAPTURE_UNJOINED", "ending a capture")
        self.live_objects += 1
        return SimulatedGraph(self, lanes)

    def close(self) -> None:
        self._closed = True

    def enqueue(self, stream_handle: int, work: Work, *, doing: str = "starting work") -> None:
        """Give a stream work: for the simulated libraries that take a stream's handle.

        Work for a handle that `stream` did not make runs at once: nobody here knows its order.
        """
        self.require_current(doing)
        if stream_handle in self._queues:
            self.queue_of(stream_handle, doing).items.append(work)
        elif stream_handle in self._gone:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", doing)
        else:
            self.clock.tick()
            work()

    # What the objects above share with this one.

    def count(self, what: str) -> None:
        """Count a call."""
        self.calls[what] += 1

    def require_current(self, doing: str) -> None:
        """Refuse what a thread does without having made the context current."""
        self._require_open(doing)
        if threading.get_ident() not in self._threads:
            raise cuda_error("CUDA_ERROR_INVALID_CONTEXT", doing)

    def forbid_in_capture(self, doing: str) -> None:
        """Refuse what a capture does not allow."""
        if self._capture:
            raise cuda_error("CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", doing)

    def queue_of(self, stream_handle: int, doing: str) -> Queue:
        """Where a stream's work goes now: its queue, or the recording."""
        self.require_current(doing)
        if stream_handle in self._capture:
            return self._capture[stream_handle]
        if stream_handle not in self._queues:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", doing)
        return self._queues[stream_handle]

    def is_captured(self, queue: Queue) -> bool:
        """Whether `queue` is a recording under way."""
        return any(queue is lane for lane in self._capture.values())

    def wait_in_stream(self, stream_handle: int, point: Point | None) -> None:
        """Let a stream wait for `point`; one that is being captured draws it into the capture."""
        doing = "letting a stream wait"
        if point is None:
            # An event that was never recorded is no reason to wait.
            self.queue_of(stream_handle, doing)
            return
        if self.is_captured(point.queue):
            self.queue_of(stream_handle, doing)
            self._capture.setdefault(stream_handle, Queue(self.clock))
        elif stream_handle in self._capture:
            # The event was recorded outside.
            raise cuda_error("CUDA_ERROR_STREAM_CAPTURE_ISOLATION", doing)
        self.queue_of(stream_handle, doing).items.append(Wait(point))

    def forget_stream(self, stream_handle: int) -> None:
        """Destroy a stream; what others wait for still happens."""
        if stream_handle in self._queues:
            del self._queues[stream_handle]
            self._gone.add(stream_handle)
            self.live_objects -= 1

    def _copy(self, where: str, device: int, host: int, nbytes: int, stream: Stream) -> None:
        doing = f"copying {nbytes} bytes {where}"
        source, target = (host, device) if where == "to the GPU" else (device, host)

        def check() -> None:
            if not self._memory.holds(device, nbytes, pinned=False):
                raise cuda_error("CUDA_ERROR_INVALID_VALUE", f"{doing}: no such device memory")
            if not self._memory.holds(host, nbytes, pinned=True):
                raise cuda_error("CUDA_ERROR_INVALID_VALUE", f"{doing}: no such pinned memory")

        def copy() -> None:
            # Again: it may have been freed since.
            check()
            ctypes.memmove(target, source, nbytes)

        check()
        self.enqueue(stream.handle, copy, doing=doing)

    def _require_open(self, doing: str) -> None:
        if self._closed:
            raise cuda_error("CUDA_ERROR_CONTEXT_IS_DESTROYED", doing)
