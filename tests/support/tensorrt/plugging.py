"""The plugins as TensorRT would use them, with tensors on a simulated GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.backends.tensorrt.plugin import register_plugins
from roadseg.kernels.kernels import Layout, storage_bytes
from roadseg.kernels.layouts import from_layout, to_layout
from roadseg.testing.cuda import SimulatedCuda
from tests.support.tensorrt import plugins as standin

VERSIONS = ("10.3.0.26", "10.5.0", "10.6.0", "10.16.1.11", "11.4.0.106")

NUMPY_TYPES = {"FLOAT": np.float32, "HALF": np.float16, "INT8": np.int8}

DTYPES = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}

INPUTS = {"MaxPoolIndex": 1, "MaxUnpoolIndex": 2}


# Layout of the values to that of the index map, by type: what each TensorRT is offered.
SINCE_10_3 = {
    ("FLOAT", "LINEAR"): "LINEAR",
    ("HALF", "LINEAR"): "LINEAR",
    ("HALF", "HWC8"): "CHW32",
    ("INT8", "LINEAR"): "LINEAR",
    ("INT8", "CHW32"): "CHW32",
}

SINCE_10_6 = SINCE_10_3 | {("HALF", "HWC8"): "HWC16", ("INT8", "HWC16"): "HWC16"}

Array = npt.NDArray[Any]


def a_tensorrt(version: str = "11.4.0.106", cuda: SimulatedCuda | None = None) -> Any:
    trt = standin.make(version)
    register_plugins(trt, cuda, image=b"simulated" if cuda is not None else None)
    return trt


def create(trt: Any, name: str, crop_hw: tuple[int, int] = (0, 0)) -> Any:
    """A plugin as the parser makes it."""
    creator = trt.get_plugin_registry().get_creator(name, "1", "roadseg")
    given = {"crop_h": crop_hw[0], "crop_w": crop_hw[1]} if name == "MaxUnpoolIndex" else {}
    collection, alive = standin.fields(**given)
    plugin = creator.create_plugin("node", collection, trt.TensorRTPhase.BUILD)
    del alive
    return plugin


class Device:
    """Tensors on the simulated GPU, in TensorRT's layouts."""

    def __init__(self, cuda: SimulatedCuda) -> None:
        self.cuda = cuda
        self.stream = cuda.stream()

    def upload(self, nchw: Array, layout: Layout) -> Any:
        memory = to_layout(nchw, layout)
        pinned = self.cuda.pinned(memory.nbytes)
        pinned.array[:] = np.frombuffer(memory.tobytes(), np.uint8)
        buffer = self.cuda.malloc(memory.nbytes)
        self.cuda.copy_to_device(buffer.pointer, pinned.pointer, memory.nbytes, self.stream)
        self.stream.synchronize()
        return buffer

    def empty(self, data_type: str, layout: Layout, nchw: tuple[int, int, int, int]) -> Any:
        return self.cuda.malloc(storage_bytes(DTYPES[data_type], layout, nchw))

    def download(
        self, buffer: Any, data_type: str, layout: Layout, nchw: tuple[int, int, int, int]
    ) -> Array:
        pinned = self.cuda.pinned(buffer.nbytes)
        self.cuda.copy_to_host(pinned.pointer, buffer.pointer, buffer.nbytes, self.stream)
        self.stream.synchronize()
        return from_layout(pinned.array.view(NUMPY_TYPES[data_type]).copy(), layout, nchw)


def descs_of(formats: Sequence[Any], shapes: Sequence[Any]) -> list[Any]:
    return [
        standin.describe(data_type, layout, shape).desc
        for (data_type, layout), shape in zip(formats, shapes, strict=True)
    ]


class Pool:
    """A pooling plugin attached to a context, with tensors in FP16 HWC8."""

    def __init__(self, cuda: SimulatedCuda, nchw: tuple[int, int, int, int]) -> None:
        self.trt = a_tensorrt(cuda=cuda)
        self.device = Device(cuda)
        self.nchw = nchw
        self.small = (*nchw[:2], (nchw[2] + 1) // 2, (nchw[3] + 1) // 2)
        self.plugin = create(self.trt, "MaxPoolIndex").attach_to_context(object())
        self.x = self.device.empty("HALF", Layout.HWC8, nchw)
        self.y = self.device.empty("HALF", Layout.HWC8, self.small)
        self.index = self.device.empty("INT8", Layout.HWC16, self.small)

    def descs(self, batch: int | None = None) -> tuple[list[Any], list[Any]]:
        half, int8 = self.trt.DataType.HALF, self.trt.DataType.INT8
        hwc8, hwc16 = self.trt.TensorFormat.HWC8, self.trt.TensorFormat.HWC16
        shapes = [(batch or s[0], *s[1:]) for s in (self.nchw, self.small, self.small)]
        descs = descs_of(((half, hwc8), (half, hwc8), (int8, hwc16)), shapes)
        return descs[:1], descs[1:]

    def fill(self, x: Array) -> None:
        memory = to_layout(x, Layout.HWC8)
        pinned = self.device.cuda.pinned(memory.nbytes)
        pinned.array[:] = np.frombuffer(memory.tobytes(), np.uint8)
        self.device.cuda.copy_to_device(
            self.x.pointer, pinned.pointer, memory.nbytes, self.device.stream
        )
        self.device.stream.synchronize()

    def enqueue(self, y: Any = None, batch: int | None = None) -> None:
        inputs, outputs = [self.x.pointer], [(y or self.y).pointer, self.index.pointer]
        handle = self.device.stream.handle
        self.plugin.enqueue(*self.descs(batch), inputs, outputs, 0, handle)

    def result(self, y: Any = None) -> Array:
        return self.device.download(y or self.y, "HALF", Layout.HWC8, self.small)
