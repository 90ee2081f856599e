"""TensorRT and TensorRT-RTX, with the plugins for index pooling and unpooling."""
