"""CUDA without a GPU: "device" memory is host memory, and kernels are what the host compiles."""

from roadseg.testing.cuda.simulated import SimulatedCuda

__all__ = ["SimulatedCuda"]
