"""Networks as graphs: ONNX in two lowerings, OpenVINO IR, explicit INT8."""
