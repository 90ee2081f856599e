"""TensorRT engines: found, judged, built and proved."""
