"""TensorRT without a GPU: stand-ins of its parts, and its published bindings over shims."""
