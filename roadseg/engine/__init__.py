"""TensorRT engines as files: specification, manifest, where they lie and whether they fit."""
