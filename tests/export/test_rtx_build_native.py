"""TensorRT-RTX really parses and builds the native graphs: that takes neither a GPU nor a driver.

Running the engines takes both. Without, they are read back as far as the library goes: its own
header, which it checks first, and deserialisation up to the point where it asks for a GPU. Graphs
of the plugin lowering are not tried: TensorRT-RTX has no plugins in Python, and its parser ends the
process when it meets one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import onnx
import pytest
import torch
from torch import nn

from roadseg.export.onnx import build_onnx
from roadseg.models import MODEL_NAMES, build_model

trt = pytest.importorskip(
    "tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install tensorrt-rtx"
)

SIZE_HW = (352, 480)
CAPABILITY_BITS = {"SM75": 1, "SM80": 2, "SM86": 4, "SM89": 8, "SM120": 16}


class Log(trt.ILogger):  # type: ignore[misc, name-defined, unused-ignore]
    """Keeps what TensorRT-RTX says; it takes one logger for the whole process."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.lines: list[tuple[Any, str]] = []

    def log(self, severity: Any, message: str) -> None:
        self.lines.append((severity, message))

    def problems(self) -> list[str]:
        bad = (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR)
        return [message for severity, message in self.lines if severity in bad]


@pytest.fixture(scope="module")
def log() -> Log:
    return Log()


@pytest.fixture(scope="module", params=MODEL_NAMES)
def named_network(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    torch.manual_seed(0)
    return request.param, build_model(request.param).eval()


def parse(model: Any, log: Log) -> tuple[Any, Any, list[tuple[str, str]]]:
    """The builder, the network, and the parser's errors as (node, text)."""
    log.lines.clear()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    parser.parse(model.SerializeToString())
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return builder, network, [(error.node_name(), error.desc()) for error in errors]


def build(
    model: Any,
    log: Log,
    *,
    targets: Sequence[str] = ("SM89",),
    batches: tuple[int, int, int] | None = None,
) -> bytes:
    builder, network, errors = parse(model, log)
    assert errors == []
    config = builder.create_builder_config()
    config.num_compute_capabilities = len(targets)
    for i, target in enumerate(targets):
        assert config.set_compute_capability(getattr(trt.ComputeCapability, target), i)
    if batches:
        profile = builder.create_optimization_profile()
        profile.set_shape("frame_bgr", *((n, *SIZE_HW, 3) for n in batches))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    assert plan is not None, log.problems()
    assert log.problems() == []
    return bytes(plan)


def check_readable(plan: bytes, log: Log, targets: Sequence[str] = ("SM89",)) -> None:
    """The header says what was built; the engine loads, or a driver is what is missing."""
    magic, size, *version, capabilities = struct.unpack_from("<4s12xQ3B5xI", plan)
    assert magic == b"vtrt"
    assert size == len(plan)
    assert version == [int(part) for part in trt.__version__.split(".")[:3]]
    assert capabilities == sum(CAPABILITY_BITS[target] for target in targets)
    runtime = trt.Runtime(log)
    log.lines.clear()
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        # TensorRT-RTX tells the first logger that still has a builder or runtime, maybe another's.
        assert not log.lines or "CUDA" in log.problems()[0]
        return
    assert engine.get_tensor_dtype("frame_bgr") == trt.uint8
    assert engine.get_tensor_dtype("labels") == trt.uint8


@pytest.fixture(scope="module")
def free_batch(named_network: tuple[str, nn.Module]) -> Any:
    """An FP16 graph for any number of frames."""
    name, network = named_network
    return build_onnx(network, name, size_hw=SIZE_HW, precision="fp16")


def weights_bytes(network: nn.Module) -> int:
    return 2 * sum(p.numel() for p in network.parameters())


def test_fp16_engines_for_one_to_eight_frames(
    named_network: tuple[str, nn.Module], free_batch: Any, log: Log
) -> None:
    plan = build(free_batch, log, batches=(1, 1, 8))
    check_readable(plan, log)
    assert len(plan) > weights_bytes(named_network[1])


def test_fp16_engines_for_one_frame(named_network: tuple[str, nn.Module], log: Log) -> None:
    name, network = named_network
    model = build_onnx(network, name, size_hw=SIZE_HW, batch=1, precision="fp16")
    plan = build(model, log)
    check_readable(plan, log)
    # The weights are in it, as FP16.
    assert weights_bytes(network) < len(plan) < 2 * weights_bytes(network)


def test_odd_levels(named_network: tuple[str, nn.Module], log: Log) -> None:
    """360 rows are 45 after three pools: padded to 46 by a copy of the last row."""
    name, network = named_network
    model = build_onnx(network, name, size_hw=(360, 480), batch=1, precision="fp16")
    assert "Pad" in {node.op_type for node in model.graph.node}
    check_readable(build(model, log), log)


def test_what_the_parser_makes_of_an_fp16_graph(
    named_network: tuple[str, nn.Module], free_batch: Any, log: Log
) -> None:
    name, _network = named_network
    _builder, parsed, errors = parse(free_batch, log)
    assert errors == []
    assert (parsed.num_inputs, parsed.num_outputs) == (1, 1)
    frame, labels = parsed.get_input(0), parsed.get_output(0)
    assert (frame.name, frame.dtype, tuple(frame.shape)) == (
        "frame_bgr",
        trt.uint8,
        (-1, *SIZE_HW, 3),
    )
    assert (labels.name, labels.dtype, tuple(labels.shape)) == ("labels", trt.uint8, (-1, *SIZE_HW))
    layers = [parsed.get_layer(i) for i in range(parsed.num_layers)]
    heavy = (trt.LayerType.CONVOLUTION, trt.LayerType.DECONVOLUTION, trt.LayerType.POOLING)
    chosen = [layer for layer in layers if layer.type in heavy]
    assert len(chosen) >= 10
    assert {layer.get_output(0).dtype for layer in chosen} == {trt.float16}
    in_float32 = {
        layer.type
        for layer in layers
        if layer.get_output(0).dtype == trt.float32 and layer.type != trt.LayerType.CONSTANT
    }
    allowed = {
        "segnet": set(),
        "segnet-basic": {trt.LayerType.CAST, trt.LayerType.LRN},
        "segnet-lite": {trt.LayerType.CAST, trt.LayerType.REDUCE},
        "segnet-edge": {trt.LayerType.CAST, trt.LayerType.REDUCE},
        "segnet-nano": {trt.LayerType.CAST, trt.LayerType.REDUCE},
    }
    assert in_float32 <= allowed[name]


@pytest.fixture(scope="module")
def lite() -> nn.Module:
    torch.manual_seed(0)
    return build_model("segnet-lite").eval()


def test_an_fp32_engine(lite: nn.Module, log: Log) -> None:
    plan = build(build_onnx(lite, "segnet-lite", size_hw=SIZE_HW, batch=1), log)
    check_readable(plan, log)


def test_targets_are_in_the_header(lite: nn.Module, log: Log) -> None:
    model = build_onnx(lite, "segnet-lite", size_hw=(64, 96), batch=1, precision="fp16")
    for targets in (["SM75"], ["SM80", "SM86", "SM89", "SM120"]):
        check_readable(build(model, log, targets=targets), log, targets)


def test_the_same_graph_gives_the_same_engine(lite: nn.Module, log: Log) -> None:
    model = build_onnx(lite, "segnet-lite", size_hw=(64, 96), batch=1, precision="fp16")
    assert build(model, log) == build(model, log)


def test_a_file_that_is_no_engine_is_known_without_a_gpu(log: Log) -> None:
    validity, why = trt.Runtime(log).get_engine_validity(bytes(4096))
    assert validity == trt.EngineValidity.INVALID
    assert why & int(trt.EngineInvalidityDiagnostics.MALFORMED_ENGINE)


def test_pytorchs_own_operations_are_why_there_are_lowerings(log: Log) -> None:
    helper = onnx.helper
    window = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        helper.make_node("MaxPool", ["x"], ["pooled", "indices"], name="pool", **window),
        helper.make_node("MaxUnpool", ["pooled", "indices"], ["y"], name="unpool", **window),
    ]
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 3, 8, 8]) for name in "xy"
    ]
    graph = helper.make_graph(nodes, "unpool", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    _builder, _network, errors = parse(model, log)
    assert [node for node, _text in errors] == ["pool", "unpool"]
