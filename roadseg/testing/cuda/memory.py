"""The memory of `SimulatedCuda`: host memory with a limit, filled with rubbish."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from roadseg.cuda.failure import cuda_error, out_of_memory

# As cuMemAlloc aligns.
_ALIGNMENT = 256
# What memory holds before anything was written to it, and after it was given back.
_FRESH, _DEAD = 0xCD, 0xDD
# Freed memory is kept this long, so that work that still uses it finds rubbish and not a crash.
_QUARANTINE_BYTES = 64 * 2**20


class Memory:
    """All live buffers, by address.

    Args:
        total_bytes: how much device memory there is; pinned memory is not limited.
    """

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.device_bytes = 0
        self._live: dict[int, tuple[npt.NDArray[np.uint8], bool]] = {}
        self._quarantine: deque[npt.NDArray[np.uint8]] = deque()

    @property
    def free_bytes(self) -> int:
        """Device memory that is left."""
        return self.total_bytes - self.device_bytes

    def take(self, nbytes: int, *, pinned: bool) -> npt.NDArray[np.uint8]:
        """New memory, (nbytes,) uint8, aligned."""
        if nbytes < 1:
            kind = "page-locking host memory" if pinned else "allocating device memory"
            raise cuda_error("CUDA_ERROR_INVALID_VALUE", f"{kind}, {nbytes} bytes")
        if not pinned and nbytes > self.free_bytes:
            raise out_of_memory(nbytes, self.free_bytes)
        block = np.full(nbytes + _ALIGNMENT, _FRESH, np.uint8)
        start = -block.ctypes.data % _ALIGNMENT
        array = block[start : start + nbytes]
        self._live[array.ctypes.data] = array, pinned
        self.device_bytes += 0 if pinned else nbytes
        return array

    def give_back(self, array: npt.NDArray[np.uint8]) -> None:
        """Undo `take`."""
        _, pinned = self._live.pop(array.ctypes.data)
        self.device_bytes -= 0 if pinned else array.nbytes
        array[:] = _DEAD
        self._quarantine.append(array)
        while sum(dead.nbytes for dead in self._quarantine) > _QUARANTINE_BYTES:
            self._quarantine.popleft()

    def holds(self, address: int, nbytes: int, *, pinned: bool) -> bool:
        """Whether a range lies inside one live buffer of that kind."""
        return any(
            start <= address and address + nbytes <= start + array.nbytes
            for start, (array, is_pinned) in self._live.items()
            if is_pinned is pinned
        )
