"""Memory that a training process keeps, instead of giving it back to the system at every step."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of glibc's malloc.h
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Make the C library reuse freed memory; for a process that does nothing but train on a CPU.

    A training step allocates hundreds of megabytes and frees them again. By default glibc hands
    every large block back to the system at once, and the next step waits for each of its pages to
    be cleared and mapped anew: a tenth to a sixth of the time of a step with large pages, more
    without them (docs/speed.md). Call it before PyTorch allocates anything, or large pages
    are not asked for.

    Returns:
        Whether the C library does so; only glibc does.
    """
    # PyTorch reads it once: large pages for large tensors, where the system grants them on request.
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows, macOS
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, _NEVER))
