"""INT8 graphs through a real TensorRT: its RTX edition parses and builds without a GPU."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from roadseg.export.onnx import Precision, build_onnx
from roadseg.export.qdq import insert_qdq
from roadseg.export.quantizable import QuantizableGraph
from roadseg.models import build_model
from roadseg.weights.calibration import Calibration

trt = pytest.importorskip(
    "tensorrt_rtx_bindings", reason="TensorRT-RTX is not installed: pip install -e '.[test]'"
)

NETWORKS = ["segnet", "segnet-basic", "segnet-lite", "segnet-edge", "segnet-nano"]
SIZE_HW = (64, 96)
# All but the first. Of segnet-lite and segnet-nano, the one on means is float, too, and the
# classifier is transposed, about which TensorRT says nothing.
INT8_CONVOLUTIONS = {
    "segnet": 25,
    "segnet-basic": 8,
    "segnet-lite": 24,
    "segnet-edge": 72,
    "segnet-nano": 18,
}


@cache
def network(name: str) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model(name).eval()


def quantized(name: str, precision: Precision, batch: int | None) -> Any:
    graph = build_onnx(
        network(name),
        name,
        size_hw=SIZE_HW,
        batch=batch,
        precision=precision,
        weights_sha256="random",
    )
    sources = QuantizableGraph(graph.graph).scale_sources()
    scales = dict.fromkeys(sources, 0.05)
    return insert_qdq(graph, Calibration(name, "random", SIZE_HW, "absmax", (), scales))


def build(onnx_model: Any, batches: tuple[int, int, int] | None) -> tuple[int, list[str]]:
    """Size of the engine in bytes, and what the parser and the builder had to complain about."""

    class Logger(trt.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.complaints: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (
                trt.ILogger.Severity.INTERNAL_ERROR,
                trt.ILogger.Severity.ERROR,
                trt.ILogger.Severity.WARNING,
            ):
                self.complaints.append(message)

    logger = Logger()
    builder = trt.Builder(logger)
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, logger)
    parsed = parser.parse(onnx_model.SerializeToString())
    errors = [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert parsed, errors
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM89, 0)
    if batches is not None:
        profile = builder.create_optimization_profile()
        profile.set_shape("frame_bgr", *((n, *SIZE_HW, 3) for n in batches))
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(definition, config)
    assert plan is not None, logger.complaints
    return plan.nbytes, logger.complaints


@pytest.mark.parametrize("batches", [None, (1, 2, 4)], ids=["static", "dynamic"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", NETWORKS)
def test_int8_engines_build(
    name: str, precision: Precision, batches: tuple[int, int, int] | None
) -> None:
    graph = quantized(name, precision, batch=1 if batches is None else None)
    size, complaints = build(graph, batches)
    if precision == "fp32":
        assert complaints == []
    else:  # TensorRT keeps the scales of fused INT8 convolutions in FP32, and says so for each
        weights = [c for c in complaints if c.endswith("Converting conv weight scales to fp32.")]
        inputs = [c for c in complaints if c.endswith("conv activation scales to fp32.")]
        assert len(weights) + len(inputs) == len(complaints)
        if complaints:
            assert len(weights) == len(inputs) == INT8_CONVOLUTIONS[name]
    parameters = sum(p.numel() for p in network(name).parameters())
    # A byte for each weight; kernels for odd jobs are 3 to 5 MB, and three times as many for the
    # depthwise convolutions of segnet-edge. With weights in FP32 it would have 15 MB more.
    assert parameters * 0.9 < size < parameters + (10e6 if name == "segnet-edge" else 6e6)
