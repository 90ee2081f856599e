"""Pairs of quantisation and dequantisation stand in the right places."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from roadseg.export.onnx import Precision
from roadseg.export.qdq import insert_qdq
from roadseg.export.quantizable import QuantizableGraph
from roadseg.weights.calibration import Calibration
from tests.support.qdq import NETWORKS, View, calibration_of, float_graph

pytestmark = pytest.mark.usefixtures("as_typed")

LAYERS = {
    # Convolutions, pools, unpools. The first convolution works on pixels and stays float, and so
    # do those of segnet-lite and its kin on means over the whole map.
    "segnet": (25, 5, 5),
    "segnet-basic": (8, 4, 4),
    "segnet-lite": (25, 3, 3),
    "segnet-edge": (73, 4, 4),
    "segnet-nano": (19, 3, 3),
}


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
    unread = [n for n in view.of("MaxPoolIndex") if not view.readers(n.output[0])]
    assert len(unread) == (4 if (name, lowering) == ("segnet-edge", "plugin") else 0)


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
        # segnet-edge pools for the places alone.
        assert readers or (node in pools and view.readers(node.output[1]))
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


UNSIGNED = {
    # Convolutions, and how many of them read signed activations: those behind no ReLU.
    "segnet": (26, 0),
    "segnet-basic": (9, 4),
    "segnet-lite": (26, 0),
    "segnet-edge": (74, 25),
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
