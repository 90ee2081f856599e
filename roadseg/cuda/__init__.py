"""The few things that roadseg asks of CUDA: memory, streams, events, kernels, graphs.

    from roadseg.cuda import load_cuda

    cuda = load_cuda()
    stream = cuda.stream()

`load_cuda` picks cuda-bindings where it is installed and pycuda otherwise. Tests use
`roadseg.testing.cuda`, which keeps "device" memory in host memory.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roadseg.cuda.api import (
        Cuda,
        DeviceBuffer,
        DeviceInfo,
        Event,
        Graph,
        Kernel,
        PinnedBuffer,
        Stream,
    )
    from roadseg.cuda.load import load_cuda

__all__ = [
    "Cuda",
    "DeviceBuffer",
    "DeviceInfo",
    "Event",
    "Graph",
    "Kernel",
    "PinnedBuffer",
    "Stream",
    "load_cuda",
]


def __getattr__(name: str) -> Any:
    # On first use: what only reads this room's error messages must not wait for NumPy, and must
    # work where that is broken.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    home = "load" if name == "load_cuda" else "api"
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
