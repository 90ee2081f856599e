"""Graphs to put Q/DQ pairs into, with scales for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy.typing as npt
import onnx
import torch
from torch import nn

from roadseg.export.onnx import Precision, build_onnx
from roadseg.export.quantizable import QuantizableGraph
from roadseg.models import build_model
from roadseg.weights.calibration import Calibration

Array = npt.NDArray[Any]

Runner = Callable[[Any, Array], Array]

NETWORKS = ["segnet", "segnet-basic", "segnet-lite", "segnet-edge", "segnet-nano"]

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
