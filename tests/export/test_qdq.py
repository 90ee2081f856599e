"""Q/DQ graphs: pairs in the right places, and the values that they should compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import Tensor, nn

from roadseg.core.errors import ModelError
from roadseg.export.onnx import Precision, build_onnx
from roadseg.export.qdq import insert_qdq, quantize_weights
from roadseg.export.quantizable import QuantizableGraph
from roadseg.models import build_model
from roadseg.testing.onnx_reference import pool_with_index, reference_evaluator
from roadseg.weights.calibration import Calibration

pytestmark = pytest.mark.usefixtures("as_typed")

Array = npt.NDArray[Any]
Runner = Callable[[Any, Array], Array]

NETWORKS = ["segnet", "segnet-basic", "segnet-lite", "segnet-nano"]
LAYERS = {
    # Convolutions, pools, unpools. The first convolution works on pixels and stays float, and so
    # do segnet-lite's and segnet-nano's on means over the whole map.
    "segnet": (25, 5, 5),
    "segnet-basic": (8, 4, 4),
    "segnet-lite": (25, 3, 3),
    "segnet-nano": (19, 3, 3),
}
SCALES = {
    "first.2:0": 0.02,
    "second.1:0": 0.015,
    "add:0": 0.02,
    "third.1:0": 0.012,
    "fourth.1:0": 0.01,
}


@cache
def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    return build_model(name).eval()


@cache
def float_graph(name: str, lowering: str, precision: Precision) -> Any:
    size_hw = (45, 60) if name == "segnet-basic" else (64, 96)  # odd sides, too
    return build_onnx(
        network(name),
        name,
        size_hw=size_hw,
        lowering=lowering,
        precision=precision,
        weights_sha256="w",
    )


def calibration_of(graph: Any, name: str, **changes: Any) -> Calibration:
    scales = {}
    for position, source in enumerate(QuantizableGraph(graph.graph).scale_sources()):
        scales[source] = 0.01 * (position + 1)
    return replace(Calibration(name, "w", (64, 96), "absmax", (), scales), **changes)


class View:
    """An ONNX graph to be asked questions."""

    def __init__(self, model: Any) -> None:
        self.nodes = list(model.graph.node)
        self.values = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
        self.producer = {name: node for node in self.nodes for name in node.output}

    def of(self, *kinds: str) -> list[Any]:
        return [node for node in self.nodes if node.op_type in kinds]

    def kind(self, tensor: str) -> str:
        return self.producer[tensor].op_type if tensor in self.producer else "constant"

    def readers(self, tensor: str) -> list[Any]:
        return [node for node in self.nodes if tensor in node.input]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("lowering", ["native", "plugin"])
@pytest.mark.parametrize("name", NETWORKS)
def test_pairs_in_the_right_places(name: str, lowering: str, precision: Precision) -> None:
    graph = float_graph(name, lowering, precision)
    before = graph.SerializeToString()
    model = insert_qdq(graph, calibration_of(graph, name))
    assert graph.SerializeToString() == before
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert (facts["precision"], facts["lowering"]) == ("int8", lowering)
    view = View(model)
    float_type = np.float16 if precision == "fp16" else np.float32
    for node in view.of("QuantizeLinear", "DequantizeLinear"):
        scale, zero = view.values[node.input[1]], view.values[node.input[2]]
        assert scale.dtype == float_type
        assert (scale > 0).all()
        assert zero.dtype == np.int8
        assert not zero.any()
    quantized = 0
    for node in view.of("Conv", "ConvTranspose"):
        x, weight = (view.producer.get(tensor) for tensor in node.input[:2])
        if weight is None:
            continue
        quantized += 1
        assert x is not None
        assert x.op_type == weight.op_type == "DequantizeLinear"
        axis = 1 if node.op_type == "ConvTranspose" else 0
        assert {a.name: a.i for a in weight.attribute} == {"axis": axis}
        stored, scales = (view.values[tensor] for tensor in weight.input[:2])
        assert stored.dtype == np.int8
        assert scales.shape == (stored.shape[axis],)
        assert view.values[node.input[2]].dtype == float_type  # the bias
        assert f"{node.name}.weight" not in view.values
    convolutions, pools, unpools = LAYERS[name]
    assert quantized == convolutions
    check = check_native if lowering == "native" else check_plugin
    assert check(view) == (pools, unpools)


def check_native(view: View) -> tuple[int, int]:
    """The maximum and what it is compared with are the same numbers; one scale goes through."""
    pools = [n for n in view.of("MaxPool") if n.name.endswith("/MaxPool")]
    for pool in pools:
        prefix = pool.name.removesuffix("/MaxPool")
        members = [n for n in view.nodes if n.name.startswith(f"{prefix}/")]
        sources = {n.input[0] for n in members if n.op_type in ("Slice", "MaxPool")}
        (source,) = sources
        if view.kind(source) == "Pad":
            source = view.producer[source].input[0]
        dequantize = view.producer[source]
        assert dequantize.op_type == "DequantizeLinear"
        for equal in (n for n in members if n.op_type == "Equal"):
            assert {view.kind(tensor) for tensor in equal.input} == {"Slice", "MaxPool"}
        for behind in view.readers(pool.output[0]):
            if behind.op_type == "QuantizeLinear":
                assert behind.input[1] == dequantize.input[1]
    unpools = [n for n in view.of("DepthToSpace") if n.name.endswith("/DepthToSpace")]
    for unpool in unpools:
        selects = [view.producer[t] for t in view.producer[unpool.input[0]].input]
        ((x,),) = ({s.input[1] for s in selects},)
        assert view.kind(x) == "DequantizeLinear"
        (behind,) = view.readers(unpool.output[0])
        if behind.op_type == "Slice":
            (behind,) = view.readers(behind.output[0])
        assert behind.op_type == "QuantizeLinear"
        assert behind.input[1] == view.producer[x].input[1]
    return len(pools), len(unpools)


def check_plugin(view: View) -> tuple[int, int]:
    """The nodes take and give INT8 under one scale, and nothing is dequantised between them."""
    pools, unpools = view.of("MaxPoolIndex"), view.of("MaxUnpoolIndex")
    assert not view.of("MaxPool", "Equal", "Where", "DepthToSpace")
    scale_of: dict[str, str] = {}
    for node in (n for n in view.nodes if n in pools + unpools):
        source = view.producer[node.input[0]]
        assert source.op_type in ("QuantizeLinear", "MaxPoolIndex")
        x, y = node.input[0], node.output[0]
        scale_of[y] = scale_of[x] if x in scale_of else source.input[1]
        readers = view.readers(y)
        assert {n.op_type for n in readers} <= {"DequantizeLinear", "MaxUnpoolIndex"}
        assert readers
        for reader in readers:
            if reader.op_type == "DequantizeLinear":
                assert reader.input[1] == scale_of[y]
    return len(pools), len(unpools)


def test_segnets_deepest_pool_hands_int8_to_the_first_unpool() -> None:
    graph = float_graph("segnet", "plugin", "fp32")
    view = View(insert_qdq(graph, calibration_of(graph, "segnet")))
    first = view.of("MaxUnpoolIndex")[0]
    assert view.kind(first.input[0]) == "MaxPoolIndex"
    assert view.readers(first.input[0]) == [first]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_scales_have_the_same_names_in_every_graph_of_a_network(
    name: str, precision: Precision
) -> None:
    native, plugin = (
        QuantizableGraph(float_graph(name, lowering, precision).graph)
        for lowering in ("native", "plugin")
    )
    reference = QuantizableGraph(float_graph(name, "native", "fp32").graph)
    assert native.scale_sources() == plugin.scale_sources() == reference.scale_sources()
    assert list(native.layers) == list(plugin.layers) == list(reference.layers)


def test_the_types_of_plugin_tensors_are_declared() -> None:
    graph = float_graph("segnet-lite", "plugin", "fp16")
    model = insert_qdq(graph, calibration_of(graph, "segnet-lite"))
    kinds = {i.name: i.type.tensor_type.elem_type for i in model.graph.value_info}
    assert kinds["pool:0/int8"] == kinds["pool:1"] == onnx.TensorProto.INT8
    assert kinds["unpool:0/int8"] == onnx.TensorProto.INT8
    assert "pool:0" not in kinds


def test_weights() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, (4, 3, 3, 3)).astype(np.float32)
    weights[2] = 0
    values, scales = quantize_weights(weights, 0)
    assert values.dtype == np.int8
    peaks = np.abs(weights).max(axis=(1, 2, 3))
    np.testing.assert_allclose(scales, np.where(peaks > 0, peaks / 127, 1), rtol=1e-6)
    assert np.abs(values[[0, 1, 3]]).max(axis=(1, 2, 3)).tolist() == [127] * 3
    assert not values[2].any()
    restored = values * scales[:, None, None, None]
    assert (np.abs(restored - weights) <= scales[:, None, None, None] / 2 * 1.0001).all()
    by_second, second = quantize_weights(weights.transpose(1, 0, 2, 3), 1)
    np.testing.assert_array_equal(by_second.transpose(1, 0, 2, 3), values)
    np.testing.assert_array_equal(second, scales)


def test_scales_of_fp16_weights_are_rounded_before_they_are_used() -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.02, (8, 16, 3, 3)).astype(np.float16)
    weights[3] *= np.float16(1e-3)
    values, scales = quantize_weights(weights, 0)
    assert scales.dtype == np.float16
    assert scales.min() == np.float16(2.0**-14)  # the channel of tiny weights: no subnormal scale
    restored = values * scales.astype(np.float64)[:, None, None, None]
    error = np.abs(restored - weights.astype(np.float64))
    # Half a step, but for a peak that a scale rounded down cannot reach (127 * 2**-11 steps).
    assert (error <= scales.astype(np.float64)[:, None, None, None] * (0.5 + 127 / 2048)).all()


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


def test_float_layers_stay_as_they_are(tiny: nn.Module) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=(32, 64))
    every = tuple(QuantizableGraph(graph.graph).layers)
    assert every == (
        "pool",
        "second.0",
        "pool_1",
        "unpool",
        "third.0",
        "unpool_1",
        "fourth.0",
        "classifier",
    )
    calibration = Calibration("tiny", "", (32, 64), "absmax", (), SCALES)
    one = View(insert_qdq(graph, replace(calibration, float_layers=("third.0",))))
    (third,) = [n for n in one.nodes if n.name == "third.0"]
    assert list(third.input) == ["add:0", "third.0.weight", "third.0.bias"]
    assert one.values["third.0.weight"].dtype == np.float32
    assert not any(name.startswith("add:0/") for name in one.values)
    none = insert_qdq(graph, replace(calibration, float_layers=every))
    assert [n.op_type for n in none.graph.node] == [n.op_type for n in graph.graph.node]


UNSIGNED = {
    # Convolutions, and how many of them read signed activations: those behind no ReLU.
    "segnet": (26, 0),
    "segnet-basic": (9, 4),
    "segnet-lite": (26, 0),
    "segnet-nano": (20, 0),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_for_openvino_are_unsigned_where_nothing_is_negative(name: str) -> None:
    graph = float_graph(name, "native", "fp32")
    sources = QuantizableGraph(graph.graph, unsigned=True).scale_sources()
    assert "to_nchw:0" not in sources
    scales = dict.fromkeys(sources, 0.5)
    calibration = Calibration(name, "w", (64, 96), "absmax", (), scales)
    view = View(insert_qdq(graph, calibration, unsigned=True))
    signed = quantized = 0
    for node in view.of("Conv", "ConvTranspose"):
        if view.kind(node.input[1]) != "DequantizeLinear":
            continue
        quantized += 1
        x = node.input[0]
        while view.kind(x) != "DequantizeLinear":  # carried through a pool
            x = view.producer[x].input[0]
        quantize = view.producer[view.producer[x].input[0]]
        scale, zero = (view.values[tensor] for tensor in quantize.input[1:])
        if view.kind(quantize.input[0]) == "Transpose":
            # The frame: all 256 values, to within a millionth of a step.
            assert zero.dtype == np.uint8
            assert float(scale) == pytest.approx(1, abs=1e-6)
            assert float(scale) != 1
        else:
            assert float(scale) == (0.25 if zero.dtype == np.uint8 else 0.5)
        signed += zero.dtype == np.int8
    assert (quantized, signed) == UNSIGNED[name]
    for pool in (n for n in view.of("MaxPool") if n.name.endswith("/MaxPool")):
        assert "QuantizeLinear" not in {n.op_type for n in view.readers(pool.output[0])}
    for unpool in (n for n in view.of("DepthToSpace") if n.name.endswith("/DepthToSpace")):
        planes = view.producer[unpool.input[0]].input
        assert {view.kind(plane) for plane in planes} == {"DequantizeLinear"}


def test_a_calibration_for_tensorrt_lacks_what_the_first_convolution_reads() -> None:
    graph = float_graph("segnet-basic", "native", "fp32")
    calibration = calibration_of(graph, "segnet-basic")
    insert_qdq(graph, calibration)
    with pytest.raises(ModelError) as caught:
        insert_qdq(graph, calibration, unsigned=True)
    assert str(caught.value) == (
        "the calibration of segnet-basic has no scale for normalise:0: "
        "run 'roadseg calibrate --model segnet-basic --data DIR|VIDEO'"
    )


@pytest.mark.parametrize("shape", [(5, 7, 3, 3), (4, 3, 3, 3), (6, 2, 1, 1), (3, 1, 1, 1)])
@pytest.mark.parametrize("axis", [0, 1])
def test_weights_with_room_never_exceed_16_bits(shape: tuple[int, ...], axis: int) -> None:
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1, shape).astype(np.float32)
    weights[1] = np.abs(weights[1])
    weights[2] = 0
    given = np.ascontiguousarray(np.moveaxis(weights, 0, axis))
    values, scales = quantize_weights(given, axis, room=True)
    assert values.shape == given.shape
    by_output = np.moveaxis(values, axis, 0).astype(int)
    odd = by_output.shape[1] % 2
    pairs = np.pad(by_output, ((0, 0), (0, odd), (0, 0), (0, 0)))
    for sign in (1, -1):
        positive = (sign * pairs).clip(0, None)
        sums = positive[:, 0::2] + positive[:, 1::2]
        assert sums.max() * 255 <= 32767
        if shape[1] < 4:  # kernels may pair any two of them
            flat = np.sort(positive.reshape(len(positive), -1))[:, -2:]
            assert flat.sum(1).max() * 255 <= 32767
    # No more room than that is left.
    _full, without = quantize_weights(given, axis)
    assert (scales <= 2.001 * without).all()
    assert (scales[[0, 1]] >= without[[0, 1]]).all()
    restored = by_output * scales.reshape(-1, 1, 1, 1)
    assert (np.abs(restored - weights) <= scales.reshape(-1, 1, 1, 1) / 2 * 1.0001).all()


def test_a_float_pool_before_a_quantised_convolution(tiny: nn.Module) -> None:
    floats = ("pool", "pool_1", "unpool", "unpool_1")
    for lowering in ("native", "plugin"):
        graph = build_onnx(tiny, "tiny", size_hw=(32, 64), lowering=lowering)
        view = View(
            insert_qdq(graph, Calibration("tiny", "", (32, 64), "absmax", (), SCALES, floats))
        )
        (second,) = [n for n in view.nodes if n.name == "second.0"]
        dequantize = view.producer[second.input[0]]
        quantize = view.producer[dequantize.input[0]]
        assert quantize.input[0] == "pool:0"
        assert quantize.input[1] == "first.2:0/scale"
        assert view.producer["pool:0"].input[0] == "first.2:0"


def test_a_calibration_of_another_network_is_refused(tiny: nn.Module) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=(32, 64), weights_sha256="a" * 64)
    good = Calibration("tiny", "a" * 64, (32, 64), "absmax", (), SCALES)
    fix = "run 'roadseg calibrate --model tiny --data DIR|VIDEO'"
    cases = [
        (replace(good, model="segnet"), f"the calibration is of segnet, not tiny: {fix}"),
        (
            replace(good, weights_sha256="b" * 64),
            "the calibration is of other weights of tiny (sha256 bbbbbbbbbbbb, not "
            f"aaaaaaaaaaaa): {fix}",
        ),
        (
            replace(good, scales={"first.2:0": 0.1}),
            f"the calibration of tiny has no scale for second.1:0: {fix}",
        ),
    ]
    for calibration, message in cases:
        with pytest.raises(ModelError) as caught:
            insert_qdq(graph, calibration)
        assert str(caught.value) == message


def test_activations_beyond_fp16(tiny: nn.Module) -> None:
    calibration = Calibration("tiny", "", (32, 64), "absmax", (), SCALES | {"add:0": 600.0})
    insert_qdq(build_onnx(tiny, "tiny", size_hw=(32, 64)), calibration)
    with pytest.raises(ModelError) as caught:
        insert_qdq(build_onnx(tiny, "tiny", size_hw=(32, 64), precision="fp16"), calibration)
    assert str(caught.value) == (
        "add:0 reaches 76200 on the calibration frames, and FP16 ends at 65504: "
        "use --precision fp32 or train with weight decay"
    )
