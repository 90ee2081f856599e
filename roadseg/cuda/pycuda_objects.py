"""Memory, streams, events and kernels of `PycudaCuda`."""

from __future__ import annotations

import ctypes
from collections.abc import MutableMapping, Sequence
from contextlib import AbstractContextManager
from ctypes import _SimpleCData
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import BackendError
from roadseg.core.installing import gpu_extra, install
from roadseg.cuda.api import Event, Stream
from roadseg.cuda.failure import cuda_error, out_of_memory

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which pycuda has no name


class Owner(Protocol):
    """What the objects ask of the GPU that they belong to; see `PycudaCuda`, which is one."""

    pycuda: Any
    streams: MutableMapping[int, PycudaStream]

    def memory_info(self) -> tuple[int, int]: ...

    def active(self, doing: str) -> AbstractContextManager[None]: ...

    def translated(self, doing: str) -> AbstractContextManager[None]: ...


def host_memory(address: int, nbytes: int) -> Any:
    """Host memory at an address, as the buffer that pycuda copies from or to."""
    return (ctypes.c_uint8 * nbytes).from_address(address)


class PycudaBuffer:
    """See `roadseg.cuda.DeviceBuffer`."""

    def __init__(self, cuda: Owner, nbytes: int) -> None:
        self._cuda = cuda
        self._nbytes = nbytes
        doing = f"allocating device memory, {nbytes} bytes"
        try:
            with cuda.active(doing):
                self._allocation = cuda.pycuda.mem_alloc(nbytes)
        except BackendError as exc:
            if "CUDA_ERROR_OUT_OF_MEMORY" in str(exc):
                raise out_of_memory(nbytes, cuda.memory_info()[0]) from exc
            raise
        self._pointer = int(self._allocation)

    @property
    def pointer(self) -> int:
        return self._pointer

    @property
    def nbytes(self) -> int:
        return self._nbytes

    def free(self) -> None:
        if self._allocation is not None:
            allocation, self._allocation = self._allocation, None
            with self._cuda.active("freeing device memory"):
                allocation.free()


class PycudaPinned:
    """See `roadseg.cuda.PinnedBuffer`."""

    def __init__(self, cuda: Owner, nbytes: int) -> None:
        self._cuda = cuda
        with cuda.active(f"page-locking host memory, {nbytes} bytes"):
            self._array: npt.NDArray[np.uint8] | None = cuda.pycuda.pagelocked_empty(
                nbytes, np.uint8
            )
        assert self._array is not None
        self._pointer = int(self._array.ctypes.data)

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        if self._array is None:
            raise cuda_error("CUDA_ERROR_INVALID_VALUE", "using pinned memory that was given back")
        return self._array

    @property
    def pointer(self) -> int:
        return self._pointer

    def free(self) -> None:
        if self._array is not None:
            allocation: Any = self._array.base
            self._array = None
            with self._cuda.active("freeing pinned memory"):
                allocation.free()


class PycudaEvent:
    """See `roadseg.cuda.Event`."""

    def __init__(self, cuda: Owner, *, timing: bool) -> None:
        self._cuda = cuda
        flags = cuda.pycuda.event_flags
        with cuda.active("creating an event"):
            self._event = cuda.pycuda.Event(int(flags.DEFAULT if timing else flags.DISABLE_TIMING))

    @property
    def event(self) -> Any:
        """pycuda's own."""
        if self._event is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", "using an event that was given back")
        return self._event

    def record(self, stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        with self._cuda.translated("recording an event"):
            self.event.record(stream.stream)

    def synchronize(self) -> None:
        with self._cuda.translated("waiting for an event"):
            self.event.synchronize()

    def elapsed_ms(self, since: Event) -> float:
        assert isinstance(since, PycudaEvent)
        with self._cuda.translated("measuring the time between two events"):
            return float(self.event.time_since(since.event))

    def close(self) -> None:
        if self._event is not None:
            # pycuda destroys it with the last reference.
            with self._cuda.active("freeing an event"):
                self._event = None


class PycudaStream:
    """See `roadseg.cuda.Stream`."""

    def __init__(self, cuda: Owner) -> None:
        self._cuda = cuda
        with cuda.active("creating a stream"):
            self._stream = cuda.pycuda.Stream(_NON_BLOCKING)
        self._handle = int(self._stream.handle)
        cuda.streams[self._handle] = self

    @property
    def stream(self) -> Any:
        """pycuda's own."""
        if self._stream is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", "using a stream that was given back")
        return self._stream

    @property
    def handle(self) -> int:
        return int(self.stream.handle)

    def wait(self, event: Event) -> None:
        assert isinstance(event, PycudaEvent)
        with self._cuda.translated("letting a stream wait"):
            self.stream.wait_for_event(event.event)

    def synchronize(self) -> None:
        with self._cuda.translated("waiting for a stream"):
            self.stream.synchronize()

    def close(self) -> None:
        if self._stream is not None:
            self._cuda.streams.pop(self._handle, None)
            with self._cuda.active("freeing a stream"):
                self._stream = None


class PycudaKernel:
    """See `roadseg.cuda.Kernel`; only for streams that pycuda made."""

    def __init__(self, cuda: Owner, function: Any, name: str) -> None:
        self._cuda = cuda
        self._function = function
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    def launch(
        self,
        grid: tuple[int, int, int],
        block: tuple[int, int, int],
        args: Sequence[_SimpleCData[Any]],
        stream_handle: int,
    ) -> None:
        stream = self._cuda.streams.get(stream_handle)
        if stream is None:
            raise BackendError(
                "pycuda cannot run kernels in a stream of TensorRT or PyTorch",
                fix=install(gpu_extra()),
            )
        # The driver reads parameters as it would a C struct of them.
        fields = [(f"p{number}", type(arg)) for number, arg in enumerate(args)]
        layout = type("Parameters", (ctypes.Structure,), {"_fields_": fields})
        packed = bytes(layout(*(arg.value for arg in args)))
        with self._cuda.translated(f"starting the kernel {self._name}"):
            self._function._launch_kernel(grid, block, packed, 0, stream.stream)
