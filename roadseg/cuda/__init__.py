"""The few things that roadseg asks of CUDA: memory, streams, events, kernels, graphs.

    from roadseg.cuda import load_cuda

    cuda = load_cuda()
    stream = cuda.stream()

`load_cuda` picks pycuda where it is installed and cuda-bindings otherwise. Programs without a GPU
use `SimulatedCuda`, which keeps "device" memory in host memory.
"""

from __future__ import annotations

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
from roadseg.cuda.simulated import SimulatedCuda

__all__ = [
    "Cuda",
    "DeviceBuffer",
    "DeviceInfo",
    "Event",
    "Graph",
    "Kernel",
    "PinnedBuffer",
    "SimulatedCuda",
    "Stream",
    "load_cuda",
]
