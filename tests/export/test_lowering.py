"""Pool-with-index and unpool as standard operations, against PyTorch's own, exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from roadseg.core.errors import UsageError
from roadseg.export.builder import GraphBuilder
from roadseg.export.lowering import LOWERINGS, NativeLowering, get_lowering

pytestmark = pytest.mark.usefixtures("as_typed")

Array = npt.NDArray[Any]
SIZES = [(4, 6), (5, 7), (6, 5), (2, 2), (1, 1), (1, 8), (9, 2), (45, 60)]


def pool_then_unpool(size_hw: tuple[int, int]) -> Any:
    """A graph that pools its input and unpools ten minus the maxima, negative ones included."""
    h, w = size_hw
    odd_hw = (h % 2, w % 2)
    graph = GraphBuilder()
    lowering = NativeLowering()
    pooled, index = lowering.pool(graph, "x", pad_hw=odd_hw, name="pool")
    values = graph.add("Sub", [graph.constant(0.5, np.float32), pooled])
    full = lowering.unpool(graph, values, index, crop_hw=odd_hw, name="unpool")
    graph.add("Identity", [full], output="y")
    info = onnx.helper.make_tensor_value_info
    shape = ["batch", "channels", h, w]
    ports = [info(name, onnx.TensorProto.FLOAT, shape) for name in "xy"]
    return graph.finish("test", ports[:1], ports[1:], {})


def reference(x: Array) -> Array:
    """The same by PyTorch."""
    values, indices = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)(torch.from_numpy(x))
    unpooled = nn.MaxUnpool2d(2, 2)(0.5 - values, indices, output_size=list(x.shape[-2:]))
    return np.asarray(unpooled.numpy())


def maps(kind: str, size_hw: tuple[int, int]) -> Array:
    rng = np.random.default_rng(7)
    shape = (2, 3, *size_hw)
    if kind == "ties":  # three values: most windows hold their maximum twice or more
        return rng.integers(-1, 2, shape).astype(np.float32)
    if kind == "constant":
        return np.full(shape, -1.25, np.float32)
    if kind == "negative":
        return -rng.exponential(1, shape).astype(np.float32)
    if kind == "after relu":  # windows of zeros only
        return np.maximum(rng.normal(-0.7, 1, shape), 0).astype(np.float32)
    return rng.normal(0, 1, shape).astype(np.float32)


@pytest.mark.parametrize("kind", ["ties", "constant", "negative", "after relu", "normal"])
@pytest.mark.parametrize("size_hw", SIZES)
def test_unpooling_equals_pytorch_exactly(
    kind: str,
    size_hw: tuple[int, int],
    run_onnx: Callable[[Any, Array], Array],
    run_openvino: Callable[[Any, Array], Array],
) -> None:
    x = maps(kind, size_hw)
    expected = reference(x)
    model = pool_then_unpool(size_hw)
    np.testing.assert_array_equal(run_onnx(model, x), expected)
    np.testing.assert_array_equal(run_openvino(model, x), expected)


def test_the_first_of_equal_values_wins(run_onnx: Callable[[Any, Array], Array]) -> None:
    x = np.array([[1, 1, 0, 2], [1, 1, 2, 2], [0, 3, 5, 4], [3, 3, 5, 5]], np.float32)[None, None]
    result = run_onnx(pool_then_unpool((4, 4)), x)[0, 0]
    expected = [[-0.5, 0, 0, -1.5], [0, 0, 0, 0], [0, -2.5, -4.5, 0], [0, 0, 0, 0]]
    np.testing.assert_array_equal(result, expected)


def test_each_window_gets_exactly_one_value(run_onnx: Callable[[Any, Array], Array]) -> None:
    # No maximum is 0.5, so that no value put back is zero.
    result = run_onnx(pool_then_unpool((32, 64)), maps("ties", (32, 64)))
    windows = result.reshape(2, 3, 16, 2, 32, 2)
    np.testing.assert_array_equal((windows != 0).sum(axis=(3, 5)), np.ones((2, 3, 16, 32)))


def test_a_nan_fills_one_place_at_most(
    run_onnx: Callable[[Any, Array], Array], run_openvino: Callable[[Any, Array], Array]
) -> None:
    x = np.array([[[[np.nan, 1], [0, 0]]]], np.float32)
    for run in (run_onnx, run_openvino):
        assert (run(pool_then_unpool((2, 2)), x) != 0).sum() == 1


def test_lowerings_go_by_name() -> None:
    assert get_lowering("native").name == "native"
    assert get_lowering("plugin").name == "plugin"
    assert list(LOWERINGS) == ["native", "plugin"]
    with pytest.raises(UsageError) as caught:
        get_lowering("magic")
    assert str(caught.value) == "unknown lowering 'magic': use --lowering native|plugin"
