"""INT8, measured: scales for TensorRT, networks for OpenVINO, and what either costs."""
