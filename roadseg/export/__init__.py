"""Networks as files: ONNX, OpenVINO, INT8, and what each says of itself."""
