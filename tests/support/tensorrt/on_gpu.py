"""Build and run a network of one pool and its unpool, in a process of its own: needs a GPU.

    python -m tests.support.tensorrt.on_gpu plain|portable LINEAR|HWC8 [ARGUMENT_ORDER]

Exits with 0 where the result equals PyTorch's, also through a CUDA graph; the last line says what
was compared. A kernel that is called wrongly leaves the process without a usable GPU, hence this.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import tensorrt as trt
import torch

from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins
from roadseg.backends.tensorrt.portable import register_portable

# Sixteen channels: HWC8 without padding, which is PyTorch's channels-last.
SHAPE = (2, 16, 45, 60)

LOGGER = trt.Logger(trt.Logger.WARNING)


def layers(network: Any, flavour: str, x: Any) -> Any:
    """x -> pool -> unpool; the last tensor."""
    if flavour == "plain":
        registry = trt.get_plugin_registry()

        def plugin(name: str, **crops: int) -> Any:
            data = [np.array([crop], np.int32) for crop in crops.values()]
            fields = [
                trt.PluginField(key, value, trt.PluginFieldType.INT32)
                for key, value in zip(crops, data, strict=True)
            ]
            creator = registry.get_creator(name, "1", "roadseg")
            collection = trt.PluginFieldCollection(fields)
            return creator.create_plugin(name, collection, trt.TensorRTPhase.BUILD)

        pool = network.add_plugin_v3([x], [], plugin("MaxPoolIndex"))
        values, index = pool.get_output(0), pool.get_output(1)
        unpool = plugin("MaxUnpoolIndex", crop_h=SHAPE[2] % 2, crop_w=SHAPE[3] % 2)
        return network.add_plugin_v3([values, index], [], unpool).get_output(0)
    import tensorrt.plugin as trtp

    ops = trtp.op.roadseg_portable
    pool = network.add_plugin(ops.MaxPoolIndex(x), aot=True)
    values, index = pool.get_output(0), pool.get_output(1)
    crop_h, crop_w = (np.array([SHAPE[axis] % 2], np.int32) for axis in (2, 3))
    unpool = ops.MaxUnpoolIndex(values, index, crop_h=crop_h, crop_w=crop_w)
    return network.add_plugin(unpool, aot=True).get_output(0)


def build(flavour: str, layout: str) -> Any:
    """The FP16 engine, and an execution context of it."""
    builder = trt.Builder(LOGGER)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    x = network.add_input("x", trt.float16, SHAPE)
    y = layers(network, flavour, x)
    y.name = "y"
    network.mark_output(y)
    for tensor in (x, y):
        tensor.allowed_formats = 1 << int(getattr(trt.TensorFormat, layout))
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    assert plan is not None, last_plugin_error()
    engine = trt.Runtime(LOGGER).deserialize_cuda_engine(plan)
    assert engine is not None, last_plugin_error()
    return engine, engine.create_execution_context()


def main(flavour: str, layout: str, order: str | None = None) -> None:
    """See the module."""
    if flavour == "plain":
        register_plugins(trt)
    else:
        register_portable(trt, argument_order=order)
    memory = torch.contiguous_format if layout == "LINEAR" else torch.channels_last
    x = torch.randn(SHAPE, dtype=torch.float16, device="cuda").contiguous(memory_format=memory)
    y = torch.full_like(x, 7)
    engine, context = build(flavour, layout)
    context.set_tensor_address("x", x.data_ptr())
    context.set_tensor_address("y", y.data_ptr())
    stream = torch.cuda.Stream()

    def run() -> None:
        ok = context.execute_async_v3(torch.cuda.current_stream().cuda_stream)
        assert ok, last_plugin_error()

    def check(what: str) -> None:
        torch.cuda.synchronize()
        maxima, places = torch.nn.functional.max_pool2d(
            x.float(), 2, ceil_mode=True, return_indices=True
        )
        expected = torch.nn.functional.max_unpool2d(maxima, places, 2, output_size=SHAPE[2:])
        assert torch.equal(y.float(), expected), what

    with torch.cuda.stream(stream):
        run()
    check("the first run")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        run()
    x.copy_(torch.randn(SHAPE, dtype=torch.float16, device="cuda"))
    y.fill_(7)
    graph.replay()
    check("a replayed graph")
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    sys.stdout.write(f"TensorRT {trt.__version__}: {flavour} {layout} equals PyTorch {names}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
