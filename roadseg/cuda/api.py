"""What a CUDA implementation offers: one small Protocol.

Pointers and stream handles are plain ints, as TensorRT and PyTorch give and take them. Everything
"asynchronous" is ordered by its stream and may return before it is done. Every call that fails
raises `BackendError`; out of memory says so and what to do.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ctypes import _SimpleCData
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from roadseg.cuda.failure import cuda_error

Dim3: TypeAlias = tuple[int, int, int]
Arguments: TypeAlias = Sequence["_SimpleCData[Any]"]


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """One GPU.

    Attributes:
        index: its number.
        name: as the driver calls it: `NVIDIA GeForce RTX 4090`.
        compute_capability: major, minor: (8, 9).
        total_bytes: its memory.
        driver_cuda: the newest CUDA that the driver runs: (13, 0).
    """

    index: int
    name: str
    compute_capability: tuple[int, int]
    total_bytes: int
    driver_cuda: tuple[int, int]


class DeviceBuffer:
    """Memory on the GPU.

    Args:
        pointer: its address on the device.
        nbytes: its size.
        give_back: frees it.
    """

    def __init__(self, pointer: int, nbytes: int, give_back: Callable[[], object]) -> None:
        self.pointer, self.nbytes = pointer, nbytes
        self._give_back, self._freed = give_back, False

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        if not self._freed:
            self._freed = True
            self._give_back()


class PinnedBuffer:
    """Page-locked host memory: what copies that overlap with computation need.

    Args:
        array: the memory, (nbytes,) uint8, writable.
        give_back: frees it.

    Attributes:
        pointer: its address on the host.
    """

    def __init__(self, array: npt.NDArray[np.uint8], give_back: Callable[[], object]) -> None:
        self.pointer = int(array.ctypes.data)
        self._array: npt.NDArray[np.uint8] | None = array
        self._give_back = give_back

    @property
    def array(self) -> npt.NDArray[np.uint8]:
        """The memory; dead after `free`."""
        if self._array is None:
            raise cuda_error("CUDA_ERROR_INVALID_VALUE", "using pinned memory that was given back")
        return self._array

    def free(self) -> None:
        """Give it back; a second call does nothing."""
        if self._array is not None:
            self._array = None
            self._give_back()


class Event(Protocol):
    """A point in a stream."""

    def record(self, stream: Stream) -> None:
        """Mark what `stream` has been given so far."""

    def synchronize(self) -> None:
        """Wait on the host until the stream got there."""

    def elapsed_ms(self, since: Event) -> float:
        """Milliseconds between two events that have been reached, made with `timing=True`."""

    def close(self) -> None:
        """Give it back; a second call does nothing."""


class Stream(Protocol):
    """An ordered queue of work for the GPU."""

    @property
    def handle(self) -> int:
        """The `CUstream`."""

    def wait(self, event: Event) -> None:
        """Let later work of this stream wait for `event`, without blocking the host."""

    def synchronize(self) -> None:
        """Wait on the host until all its work is done."""

    def close(self) -> None:
        """Give it back; a second call does nothing."""


class Graph(Protocol):
    """Captured work, launched as one."""

    def launch(self, stream: Stream) -> None:
        """Run it in `stream`."""

    def close(self) -> None:
        """Give it back; a second call does nothing."""


class Kernel(Protocol):
    """A function on the GPU.

    Attributes:
        name: its symbol.
    """

    name: str

    def launch(self, grid: Dim3, block: Dim3, args: Arguments, stream_handle: int) -> None:
        """Run it in a stream given by its handle, also one that is not ours.

        Args:
            grid: blocks.
            block: threads of a block.
            args: the kernel's parameters in order, as ctypes values of exactly their types.
            stream_handle: a `CUstream`.
        """


class Cuda(Protocol):
    """CUDA on one device, whose primary context is current on the thread that loaded it.

    Attributes:
        name: implementation and version, for reports: `cuda-bindings 13.5.0`.
        device: the GPU in use.
        supports_graphs: whether `begin_capture` works.
    """

    name: str
    device: DeviceInfo
    supports_graphs: bool

    def make_current(self) -> None:
        """Make the context current on the calling thread: once for each thread that uses it."""

    def memory_info(self) -> tuple[int, int]:
        """Free and total bytes of the device."""

    def malloc(self, nbytes: int) -> DeviceBuffer:
        """Device memory, aligned for every access."""

    def pinned(self, nbytes: int) -> PinnedBuffer:
        """Page-locked host memory."""

    def stream(self) -> Stream:
        """A new stream that does not wait for the default stream."""

    def event(self, *, timing: bool = False) -> Event:
        """A new event; only those with `timing` can measure."""

    def copy_to_device(self, device: int, host: int, nbytes: int, stream: Stream) -> None:
        """Copy asynchronously from pinned memory; both given by address."""

    def copy_to_host(self, host: int, device: int, nbytes: int, stream: Stream) -> None:
        """Copy asynchronously to pinned memory; both given by address."""

    def load_kernels(self, image: bytes, names: Sequence[str]) -> dict[str, Kernel]:
        """Load compiled code (cubin or PTX) and find functions in it, by name.

        The code stays loaded until `close`.
        """

    def begin_capture(self, stream: Stream) -> None:
        """From now on record what `stream` is given instead of running it."""

    def end_capture(self, stream: Stream) -> Graph:
        """What was recorded, ready to launch."""

    def close(self) -> None:
        """Give the context back; a second call does nothing."""
