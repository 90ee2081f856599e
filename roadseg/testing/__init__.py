"""Doubles that tests use: a simulated GPU, kernels compiled for the host, ONNX by reference."""
