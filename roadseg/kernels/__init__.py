"""Index pooling and unpooling on NVIDIA GPUs: CUDA kernels, and the TensorRT plugins around them.

- `kernels`: which kernels there are, how each is launched, and their source; needs no CUDA.
- `nvrtc`: compiles them for a GPU, without a CUDA toolkit, and keeps the result.
- `host`: compiles them for the host's CPU; what tests and programs without a GPU compare with.
- `tensorrt_plugin`: the two operations as TensorRT plugins written in Python.
- `portable`: the same, compiled ahead of time into engines that need no Python.
"""
