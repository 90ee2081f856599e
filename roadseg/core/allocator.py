"""How the C library keeps memory: of programs alone, not of whoever imports roadseg."""

from __future__ import annotations

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # of glibc's malloc.h
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
    return _set(_M_MMAP_MAX, 0) and _set(_M_TRIM_THRESHOLD, _NEVER)


def share_one_arena() -> bool:
    """Make all threads allocate from one heap; for a process that segments video.

    By default glibc gives each thread a heap of its own, up to eight for each core. What OpenVINO
    frees in one of them while it compiles a network, no other thread can have: 15 to 20 MB of the
    300 that a run takes (docs/speed.md). Frames are allocated rarely enough for one heap. Call it
    before there are threads. What the environment says of arenas holds.

    Returns:
        Whether there is one heap; only glibc has several.
    """
    asked = "MALLOC_ARENA_MAX" in os.environ
    if asked or "glibc.malloc.arena_max" in os.environ.get("GLIBC_TUNABLES", ""):
        return False
    return _set(_M_ARENA_MAX, 1)


def _set(parameter: int, value: int) -> bool:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):  # Windows, macOS
        return False
    return bool(mallopt(parameter, value))
