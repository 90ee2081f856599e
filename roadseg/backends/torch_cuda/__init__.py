"""PyTorch's layers with our kernels, on NVIDIA GPUs without TensorRT."""
