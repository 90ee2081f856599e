"""Launches: captured, prepared again where shapes change, refused where nothing was agreed."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.backends.tensorrt import index_ops
from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins
from roadseg.core.errors import BackendError
from roadseg.kernels.kernels import Layout
from roadseg.testing.cuda import SimulatedCuda
from tests.support import pooling as pytorch
from tests.support.tensorrt.plugging import (
    Pool,
    create,
)

pytestmark = pytest.mark.usefixtures("as_typed")


def test_a_graph_captures_the_launch_and_nothing_else(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (2, 24, 5, 6))
    before = dict(cuda.calls)
    # The simulated GPU refuses allocation, loading and waiting during a capture. That even the
    # first call of `on_shape_change` may come here, because the kernels were loaded before.
    cuda.begin_capture(pool.device.stream)
    pool.plugin.on_shape_change(*pool.descs())
    pool.enqueue()
    graph = cuda.end_capture(pool.device.stream)
    made = {what: n - before.get(what, 0) for what, n in cuda.calls.items()}
    assert {what: n for what, n in made.items() if n} == {"begin_capture": 1, "launch": 1}
    for seed in (3, 4):
        x = pytorch.random_values(pool.nchw, "fp16", seed)
        pool.fill(x)
        graph.launch(pool.device.stream)
        np.testing.assert_array_equal(pool.result(), pytorch.pool(x)[0])


def test_kernels_are_not_loaded_while_capturing(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    register_plugins(pool.trt, cuda, image=b"simulated")
    fresh = create(pool.trt, "MaxPoolIndex")
    cuda.begin_capture(pool.device.stream)
    with pytest.raises(BackendError, match="loading the kernels"):
        fresh.on_shape_change(*pool.descs())
    cuda.end_capture(pool.device.stream)
    error = last_plugin_error()
    assert error is not None
    assert error.startswith("MaxPoolIndex.on_shape_change: ")
    assert "\n" not in error


def test_new_shapes_and_addresses_are_noticed(cuda: SimulatedCuda) -> None:
    """Also where `on_shape_change` did not announce them."""
    pool = Pool(cuda, (2, 8, 4, 6))
    x = pytorch.random_values(pool.nchw, "fp16", 5)
    pool.fill(x)
    pool.plugin.on_shape_change(*pool.descs(batch=1))
    pool.enqueue(batch=1)
    np.testing.assert_array_equal(pool.result()[:1], pytorch.pool(x[:1])[0])
    pool.enqueue()
    np.testing.assert_array_equal(pool.result(), pytorch.pool(x)[0])
    other = pool.device.empty("HALF", Layout.HWC8, pool.small)
    pool.enqueue(y=other)
    np.testing.assert_array_equal(pool.result(other), pytorch.pool(x)[0])


def test_a_frame_like_the_last_computes_no_launch(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    pool.fill(pytorch.random_values(pool.nchw, "fp16", 6))
    pool.plugin.on_shape_change(*pool.descs())
    pool.enqueue()
    monkeypatch.setattr(index_ops, "pool_launch", None)
    pool.enqueue()
    assert cuda.calls["launch"] == 2


def test_a_clone_is_prepared_like_its_source_and_goes_its_own_way(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (2, 8, 4, 4))
    x = pytorch.random_values(pool.nchw, "fp16", 7)
    pool.fill(x)
    pool.plugin.on_shape_change(*pool.descs())
    source = pool.plugin
    pool.plugin = source.clone()
    source.on_shape_change(*pool.descs(batch=1))
    pool.enqueue()
    np.testing.assert_array_equal(pool.result(), pytorch.pool(x)[0])


def test_what_was_not_offered_is_refused(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    inputs, outputs = pool.descs()
    outputs[1].format = pool.trt.TensorFormat.CHW32
    with pytest.raises(ValueError, match=r"^no kernel for the formats HALF HWC8, HALF HWC8, INT8"):
        pool.plugin.on_shape_change(inputs, outputs)
    assert last_plugin_error() == (
        "MaxPoolIndex.on_shape_change: no kernel for the formats HALF HWC8, HALF HWC8, INT8 CHW32"
    )


def test_enqueued_without_a_context(cuda: SimulatedCuda) -> None:
    pool = Pool(cuda, (1, 8, 4, 4))
    pool.plugin = create(pool.trt, "MaxPoolIndex")
    message = "enqueued before attach_to_context or on_shape_change"
    with pytest.raises(RuntimeError, match=f"^{message}$"):
        pool.enqueue()
    assert last_plugin_error() == f"MaxPoolIndex.enqueue: {message}"
