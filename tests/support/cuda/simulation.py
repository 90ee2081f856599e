"""The simulated GPU below the stand-ins, and what their tests launch on it."""

from __future__ import annotations

import ctypes
import re
from typing import Any

from roadseg.core.errors import BackendError
from roadseg.testing.cuda import SimulatedCuda

TOTAL_BYTES = 64 * 2**20


def fill(grid: Any, block: Any, args: Any) -> None:
    """The kernel of these tests: `count` bytes at `offset` become twice `value`."""
    pointer, count, value, offset = (arg.value for arg in args)
    ctypes.memset(pointer + offset, int(value * 2) & 255, count)


FILL_TYPES = (ctypes.c_void_p, ctypes.c_int, ctypes.c_float, ctypes.c_int64)


def simulated() -> SimulatedCuda:
    return SimulatedCuda({"fill": fill}, total_bytes=TOTAL_BYTES)


def code_in(exc: BackendError) -> str:
    if "GPU out of memory" in str(exc):
        return "CUDA_ERROR_OUT_OF_MEMORY"
    found = re.search(r"CUDA_ERROR_\w+", str(exc))
    assert found is not None, str(exc)
    return found[0]
