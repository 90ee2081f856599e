"""The values that Q/DQ graphs should compute, by PyTorch and by each runtime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor, nn

from roadseg.export.onnx import Precision, build_onnx
from roadseg.export.qdq import insert_qdq
from roadseg.export.quantizable import QuantizableGraph
from roadseg.testing.onnx_reference import pool_with_index, reference_evaluator
from roadseg.weights.calibration import Calibration
from tests.support.qdq import SCALES, Array, Runner

pytestmark = pytest.mark.usefixtures("as_typed")


def fake_quantize(x: Tensor, scale: float) -> Tensor:
    step = torch.tensor(scale, dtype=torch.float32)
    return (x / step).round().clamp(-128, 127) * step


class Simulation(nn.Module):
    """What the Q/DQ graph of the small network has to compute, written in PyTorch."""

    def __init__(self, tiny: nn.Module) -> None:
        super().__init__()
        self.tiny: Any = tiny

    def weighted(self, layer: nn.Conv2d, x: Tensor) -> Tensor:
        scale = layer.weight.abs().amax((1, 2, 3), keepdim=True) / 127
        weight = (layer.weight / scale).round().clamp(-127, 127) * scale
        return nn.functional.conv2d(x, weight, layer.bias, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        tiny = self.tiny
        full = fake_quantize(tiny.first(x), SCALES["first.2:0"])
        pooled, place_full = tiny.pool(full)
        half = fake_quantize(self.weighted(tiny.second[0], pooled).relu(), SCALES["second.1:0"])
        pooled, place_half = tiny.pool(half)
        y = fake_quantize(tiny.unpool(pooled, place_half, half) + half, SCALES["add:0"])
        y = fake_quantize(self.weighted(tiny.third[0], y).relu(), SCALES["third.1:0"])
        y = tiny.unpool(y, place_full, full)
        y = fake_quantize(self.weighted(tiny.fourth[0], y).relu(), SCALES["fourth.1:0"])
        return self.weighted(tiny.classifier, y)


@pytest.fixture(scope="module")
def simulated(tiny: nn.Module, frames: Callable[..., Array], run_torch: Runner) -> Array:
    return run_torch(Simulation(tiny).eval(), frames((32, 64), 2))


def tiny_int8(tiny: nn.Module, lowering: str, precision: Precision = "fp32") -> Any:
    graph = build_onnx(
        tiny, "tiny", size_hw=(32, 64), lowering=lowering, precision=precision, output="logits"
    )
    assert set(QuantizableGraph(graph.graph).scale_sources()) == set(SCALES)
    return insert_qdq(graph, Calibration("tiny", "", (32, 64), "absmax", (), SCALES))


def as_written(model: Any) -> Any:
    """An ONNX Runtime session that fuses nothing into integer layers."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def assert_equal(actual: Array, expected: Array) -> None:
    """Sums are rounded in another order: now and then a value lands on the next INT8 step."""
    close = np.isclose(actual, expected, rtol=1e-4, atol=1e-4)
    assert close.mean() >= 0.999
    assert np.abs(actual - expected).max() <= 0.05 * np.abs(expected).max()


def assert_near(actual: Array, expected: Array, *, labels: float) -> None:
    """Runtimes that compute in integers round at other places than the graph says."""
    assert np.abs(actual - expected).mean() <= 0.01 * np.abs(expected).max()
    assert (actual.argmax(1) == expected.argmax(1)).mean() >= labels


def test_native_agrees_with_pytorch(
    tiny: nn.Module, simulated: Array, frames: Callable[..., Array]
) -> None:
    (logits,) = as_written(tiny_int8(tiny, "native")).run(None, {"frame_bgr": frames((32, 64), 2)})
    assert_equal(np.asarray(logits), simulated)


def test_integer_runtimes_agree_with_pytorch(
    tiny: nn.Module,
    simulated: Array,
    frames: Callable[..., Array],
    run_onnx: Runner,
    run_openvino: Runner,
) -> None:
    model = tiny_int8(tiny, "native")
    assert_near(run_onnx(model, frames((32, 64), 2)), simulated, labels=0.995)
    assert_near(run_openvino(model, frames((32, 64), 2)), simulated, labels=0.995)


def test_plugin_agrees_with_pytorch(
    tiny: nn.Module, simulated: Array, frames: Callable[..., Array]
) -> None:
    model = tiny_int8(tiny, "plugin")
    model.opset_import[0].version = 19  # the evaluator has no older DequantizeLinear
    (logits,) = reference_evaluator(model).run(None, {"frame_bgr": frames((32, 64), 2)})
    assert_equal(logits, simulated)


def test_fp16_is_near_fp32(tiny: nn.Module, simulated: Array, frames: Callable[..., Array]) -> None:
    for lowering in ("native", "plugin"):
        model = tiny_int8(tiny, lowering, "fp16")
        (logits,) = reference_evaluator(model).run(None, {"frame_bgr": frames((32, 64), 2)})
        assert logits.dtype == np.float32
        assert_near(logits, simulated, labels=0.98)


def test_fp16_pools_find_their_maxima_wherever_casts_are_put(
    tiny: nn.Module, frames: Callable[..., Array]
) -> None:
    """ONNX Runtime dequantises in FP32 what a pool reads, and in FP16 what it is compared with.

    With steps of four significant bits both are the same numbers. With others `Equal` fails, and a
    window whose maximum is not found is given its last place: a third of them instead of a tenth.
    """
    graph = build_onnx(tiny, "tiny", size_hw=(32, 64), precision="fp16")
    scales = dict.fromkeys(SCALES, 0.01953125)
    model = insert_qdq(graph, Calibration("tiny", "", (32, 64), "absmax", (), scales))
    del model.graph.output[:]
    for name in ("pool/Where0:0", "first.2:0/dequantized"):
        info = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT16, None)
        model.graph.output.append(info)
    places, features = as_written(model).run(None, {"frame_bgr": frames((32, 64))})
    _maxima, expected = pool_with_index(features)
    np.testing.assert_array_equal(places, expected)


def test_openvino_computes_in_int8(tiny: nn.Module) -> None:
    import openvino as ov

    core = ov.Core()
    model = core.read_model(tiny_int8(tiny, "native").SerializeToString())
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    kinds = []
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        if facts["layerType"].astype(str) == "Convolution":
            kinds.append(facts["runtimePrecision"].astype(str))
    # Processors without VNNI multiply unsigned by signed bytes: OpenVINO shifts the activations.
    assert sorted(kind.replace("u8", "i8") for kind in kinds) == ["f32", "i8", "i8", "i8", "i8"]
