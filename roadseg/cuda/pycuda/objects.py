"""Streams, events and kernels of `PycudaCuda`."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, MutableMapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from roadseg.core.errors import BackendError
from roadseg.core.installing import gpu_extra, install
from roadseg.cuda.api import Arguments, Dim3, Event, Stream
from roadseg.cuda.failure import cuda_error

_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING, for which pycuda has no name


class Owner(Protocol):
    """What the objects ask of the GPU that they belong to; see `PycudaCuda`, which is one."""

    pycuda: Any
    streams: MutableMapping[int, PycudaStream]

    def active(self, doing: str) -> AbstractContextManager[None]: ...

    def translated(self, doing: str) -> AbstractContextManager[None]: ...


def host_memory(address: int, nbytes: int) -> Any:
    """Host memory at an address, as the buffer that pycuda copies from or to."""
    return (ctypes.c_uint8 * nbytes).from_address(address)


class _Owned:
    """An object of pycuda's, which pycuda destroys with the last reference."""

    what = ""

    def __init__(self, cuda: Owner, make: Callable[[], Any]) -> None:
        self._cuda = cuda
        with cuda.active(f"creating {self.what}"):
            self._inner = make()

    @property
    def inner(self) -> Any:
        """pycuda's own."""
        if self._inner is None:
            raise cuda_error("CUDA_ERROR_INVALID_HANDLE", f"using {self.what} that was given back")
        return self._inner

    def close(self) -> None:
        if self._inner is not None:
            with self._cuda.active(f"freeing {self.what}"):
                self._inner = None


class PycudaEvent(_Owned):
    """See `roadseg.cuda.api.Event`."""

    what = "an event"

    def __init__(self, cuda: Owner, *, timing: bool) -> None:
        flags = cuda.pycuda.event_flags
        flag = int(flags.DEFAULT if timing else flags.DISABLE_TIMING)
        super().__init__(cuda, lambda: cuda.pycuda.Event(flag))

    def record(self, stream: Stream) -> None:
        assert isinstance(stream, PycudaStream)
        with self._cuda.translated("recording an event"):
            self.inner.record(stream.inner)

    def synchronize(self) -> None:
        with self._cuda.translated("waiting for an event"):
            self.inner.synchronize()

    def elapsed_ms(self, since: Event) -> float:
        assert isinstance(since, PycudaEvent)
        with self._cuda.translated("measuring the time between two events"):
            return float(self.inner.time_since(since.inner))


class PycudaStream(_Owned):
    """See `roadseg.cuda.api.Stream`."""

    what = "a stream"

    def __init__(self, cuda: Owner) -> None:
        super().__init__(cuda, lambda: cuda.pycuda.Stream(_NON_BLOCKING))
        cuda.streams[self.handle] = self

    @property
    def handle(self) -> int:
        return int(self.inner.handle)

    def wait(self, event: Event) -> None:
        assert isinstance(event, PycudaEvent)
        with self._cuda.translated("letting a stream wait"):
            self.inner.wait_for_event(event.inner)

    def synchronize(self) -> None:
        with self._cuda.translated("waiting for a stream"):
            self.inner.synchronize()

    def close(self) -> None:
        if self._inner is not None:
            self._cuda.streams.pop(self.handle, None)
        super().close()


@dataclass(slots=True)
class PycudaKernel:
    """See `roadseg.cuda.api.Kernel`; only for streams that pycuda made."""

    cuda: Owner
    function: Any
    name: str

    def launch(self, grid: Dim3, block: Dim3, args: Arguments, stream_handle: int) -> None:
        stream = self.cuda.streams.get(stream_handle)
        if stream is None:
            raise BackendError(
                "pycuda cannot run kernels in a stream of TensorRT or PyTorch",
                fix=install(gpu_extra()),
            )
        # The driver reads parameters as it would a C struct of them.
        fields = [(f"p{number}", type(arg)) for number, arg in enumerate(args)]
        layout = type("Parameters", (ctypes.Structure,), {"_fields_": fields})
        packed = bytes(layout(*(arg.value for arg in args)))
        with self.cuda.translated(f"starting the kernel {self.name}"):
            self.function._launch_kernel(grid, block, packed, 0, stream.inner)
