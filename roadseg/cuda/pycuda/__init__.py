"""CUDA through pycuda, for machines where cuda-bindings cannot be installed."""
