"""Pooling and unpooling give what PyTorch gives, in every format."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.backends.tensorrt.plugin import last_plugin_error
from roadseg.kernels.kernels import Layout
from roadseg.testing.cuda import SimulatedCuda
from tests.support import pooling as pytorch
from tests.support.tensorrt import plugins as standin
from tests.support.tensorrt.plugging import (
    DTYPES,
    INPUTS,
    SINCE_10_3,
    SINCE_10_6,
    Device,
    a_tensorrt,
    create,
    descs_of,
)

pytestmark = pytest.mark.usefixtures("as_typed")

CASES = [
    (version, data_type, layout, index_layout)
    for version, offered in (("10.3.0.26", SINCE_10_3), ("11.4.0.106", SINCE_10_6))
    for (data_type, layout), index_layout in offered.items()
]


@pytest.mark.parametrize("nchw", [(1, 3, 5, 7), (2, 16, 6, 32), (2, 33, 3, 4), (1, 8, 1, 1)])
@pytest.mark.parametrize(("version", "data_type", "layout", "index_layout"), CASES)
def test_pool_and_unpool_give_what_pytorch_gives(
    cuda: SimulatedCuda,
    version: str,
    data_type: str,
    layout: str,
    index_layout: str,
    nchw: tuple[int, int, int, int],
) -> None:
    """Built, serialised, loaded, attached, run: the way of a plugin through TensorRT. Exact."""
    trt = a_tensorrt(version, cuda)
    device = Device(cuda)
    values = (trt.DataType[data_type], trt.TensorFormat[layout])
    index = (trt.DataType.INT8, trt.TensorFormat[index_layout])
    kind, index_kind = Layout[layout], Layout[index_layout]
    batch, channels, height, width = nchw
    small = (batch, channels, (height + 1) // 2, (width + 1) // 2)

    x = pytorch.random_values(nchw, DTYPES[data_type], 1)
    small_x = pytorch.random_values(small, DTYPES[data_type], 2)
    x_buffer = device.upload(x, kind)
    small_buffer = device.upload(small_x, kind)
    y_buffer = device.empty(data_type, kind, small)
    index_buffer = device.empty("INT8", index_kind, small)
    large_buffer = device.empty(data_type, kind, nchw)

    for name, formats, shapes, inputs, outputs in (
        (
            "MaxPoolIndex",
            (values, values, index),
            (nchw, small, small),
            [x_buffer.pointer],
            [y_buffer.pointer, index_buffer.pointer],
        ),
        (
            "MaxUnpoolIndex",
            (values, index, values),
            (small, small, nchw),
            [small_buffer.pointer, index_buffer.pointer],
            [large_buffer.pointer],
        ),
    ):
        built = create(trt, name, (height % 2, width % 2)).clone()
        descs = descs_of(formats, shapes)
        dynamic = [standin.describe(*f, (-1, *s[1:])) for f, s in zip(formats, shapes, strict=True)]
        count = INPUTS[name]
        built.configure_plugin(dynamic[:count], dynamic[count:])
        fields = built.get_fields_to_serialize()
        creator = trt.get_plugin_registry().get_creator(name, "1", "roadseg")
        loaded = creator.create_plugin("node", fields, trt.TensorRTPhase.RUNTIME)
        plugin = loaded.attach_to_context(object())
        assert plugin is not loaded
        assert plugin.get_capability_interface(trt.PluginCapabilityType.RUNTIME) is plugin
        plugin.set_tactic(0)
        plugin.on_shape_change(descs[:count], descs[count:])
        plugin.enqueue(descs[:count], descs[count:], inputs, outputs, 0, device.stream.handle)

    expected_y, expected_index = pytorch.pool(x)
    y = device.download(y_buffer, data_type, kind, small)
    found_index = device.download(index_buffer, "INT8", index_kind, small)
    np.testing.assert_array_equal(y, expected_y)
    np.testing.assert_array_equal(found_index, expected_index)
    large = device.download(large_buffer, data_type, kind, nchw)
    np.testing.assert_array_equal(large, pytorch.unpool(small_x, x))
    assert last_plugin_error() is None
