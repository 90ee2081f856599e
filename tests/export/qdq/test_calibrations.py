"""What a calibration leaves in float, lacks, or is of another network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from roadseg.core.errors import ModelError
from roadseg.export.onnx import build_onnx
from roadseg.export.qdq import insert_qdq
from roadseg.export.quantizable import QuantizableGraph
from roadseg.weights.calibration import Calibration
from tests.support.qdq import SCALES, View, calibration_of, float_graph

pytestmark = pytest.mark.usefixtures("as_typed")


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
