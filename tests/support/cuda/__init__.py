"""CUDA without a GPU: stand-ins of its Python packages and of the driver's library."""

from __future__ import annotations

from pathlib import Path

# C source of a libcuda that works on host memory.
FAKE_DRIVER = Path(__file__).with_name("fake_libcuda.c")
