"""What can be quantised in an exported ONNX graph, and which tensors share a scale.

Three kinds of layers are quantised: convolutions (transposed ones, too), pools with indices and
unpools. A pool takes some of its input's values and an unpool moves them about: neither makes a new
value, so one scale serves what goes in and what comes out. `QuantizableGraph.scale_source` follows
a tensor back through pools and unpools to the one that was computed; scales are kept under that
name, which is the same in the native and the plugin lowering.

Signed INT8 is what TensorRT takes. OpenVINO's kernels are fastest on unsigned activations, which
have twice the steps where nothing is negative, and hold a frame's 256 values exactly: in a graph
for OpenVINO the first convolution is a layer as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from roadseg.export.lowering import DOMAIN

_MIN_CHANNELS = 4
"""A convolution of fewer input channels stays float where INT8 is signed."""

_JOINS = ("Add", "Concat")
_RELAYS = ("Cast", "Expand", "GlobalAveragePool", "LRN", "MaxPool", "Resize", "Transpose")
"""Operations that give nothing negative where no input is, or where the first one is not."""

_PLUGIN_KINDS: dict[str, Literal["pool", "unpool"]] = {
    "MaxPoolIndex": "pool",
    "MaxUnpoolIndex": "unpool",
}


@dataclass(frozen=True)
class Layer:
    """Something that runs in INT8 as one.

    Attributes:
        name: of the layer, the same in both lowerings: the module's path in the PyTorch model for a
            convolution, `pool`, `pool_1`, `unpool`... for the others.
        kind: `conv`, `pool` or `unpool`.
        node_names: of its nodes; more than one for a pool or an unpool in the native lowering.
        x: name of the tensor of values that it takes.
        y: name of the tensor of values that it gives (a pool's index map is not quantised).
        is_plugin: one custom node, which takes INT8 itself.
        planes: of an unpool in a graph for OpenVINO, the four tensors that it interleaves.
    """

    name: str
    kind: Literal["conv", "pool", "unpool"]
    node_names: tuple[str, ...]
    x: str
    y: str
    is_plugin: bool = False
    planes: tuple[str, ...] = ()


class QuantizableGraph:
    """The layers of an `onnx.GraphProto`; the graph is read and not changed.

    Args:
        graph: what to read.
        unsigned: whether activations that are never negative are to be unsigned.

    Attributes:
        layers: all that can be quantised, by name, in the order of the graph.
    """

    def __init__(self, graph: Any, *, unsigned: bool = False) -> None:
        self._is_unsigned = unsigned
        self._inputs = {i.name for i in graph.input}
        self._producers = {name: node for node in graph.node for name in node.output}
        self._consumers: dict[str, list[Any]] = {}
        self._groups: dict[str, list[Any]] = {}
        for node in graph.node:
            self._groups.setdefault(_prefix(node), []).append(node)
            for name in node.input:
                self._consumers.setdefault(name, []).append(node)
        self._constants = {i.name: i for i in graph.initializer}
        self.layers: dict[str, Layer] = {
            layer.name: layer for node in graph.node for layer in self._layers_at(node)
        }
        self._carried = {
            layer.y: layer.x for layer in self.layers.values() if layer.kind in ("pool", "unpool")
        }
        self._carried |= {
            plane: unpool.x for unpool in self.layers.values() for plane in unpool.planes
        }
        # Found now: those who ask later change the graph meanwhile.
        sources = {self.scale_source(layer.x) for layer in self.layers.values()}
        self._frames = {source for source in sources if self._is_frame(source)}
        self._never_negative = {s for s in sources if unsigned and self._has_no_negatives(s)}

    def scale_source(self, tensor: str) -> str:
        """The tensor whose scale `tensor` has: itself, unless a pool or an unpool made it."""
        while tensor in self._carried:
            tensor = self._carried[tensor]
        return tensor

    def scale_sources(self) -> tuple[str, ...]:
        """The tensors that need a scale when every layer is quantised, in the graph's order.

        Without the frame, whose scale is 1 in any case.
        """
        sources = dict.fromkeys(self.scale_source(layer.x) for layer in self.layers.values())
        return tuple(source for source in sources if not self.is_frame(source))

    def is_frame(self, tensor: str) -> bool:
        """Whether what a layer takes is the frame itself, 0..255."""
        return tensor in self._frames

    def is_unsigned(self, tensor: str) -> bool:
        """Whether what a layer takes or gives is to be unsigned: it is never negative."""
        return self.scale_source(tensor) in self._never_negative

    def _is_frame(self, tensor: str) -> bool:
        node = self._producers.get(tensor)
        if node is None:
            return tensor in self._inputs
        return node.op_type in ("Cast", "Transpose") and self._is_frame(node.input[0])

    def _has_no_negatives(self, tensor: str) -> bool:
        tensor = self.scale_source(tensor)
        node = self._producers.get(tensor)
        if node is None:
            return tensor in self._inputs
        if node.op_type == "Relu" or (node.op_type == "Clip" and self._least(node) >= 0):
            return True
        inputs = node.input if node.op_type in _JOINS else node.input[:1]
        return node.op_type in _JOINS + _RELAYS and all(map(self._has_no_negatives, inputs))

    def _least(self, clip: Any) -> float:
        """Below what nothing comes out of a Clip."""
        import onnx

        lowest = self._constants.get(clip.input[1]) if len(clip.input) > 1 else None
        return -math.inf if lowest is None else float(onnx.numpy_helper.to_array(lowest))

    def consumers(self, tensor: str) -> list[Any]:
        """The nodes that read a tensor."""
        return self._consumers.get(tensor, [])

    def _layers_at(self, node: Any) -> Iterator[Layer]:
        """The layer that `node` stands for, if it does: one node of each group does."""
        if node.op_type in ("Conv", "ConvTranspose"):
            if self._gains_by_int8(node):
                yield Layer(node.name, "conv", (node.name,), node.input[0], node.output[0])
        elif node.domain == DOMAIN and node.op_type in _PLUGIN_KINDS:
            kind = _PLUGIN_KINDS[node.op_type]
            name, nodes = _prefix(node), (node.name,)
            yield Layer(name, kind, nodes, node.input[0], node.output[0], is_plugin=True)
        elif node.op_type == "MaxPool":
            yield from self._native_pool(node)
        elif node.op_type == "DepthToSpace":
            yield from self._native_unpool(node)

    def _gains_by_int8(self, convolution: Any) -> bool:
        """Whether INT8 can make a convolution faster.

        Not on the frame itself where INT8 is signed: TensorRT's kernels take INT8 channels 16 or 32
        at a time, of which 3 would be used, and signed INT8 does not hold the 256 values of a
        pixel. Not on means over the whole map either: one position costs nothing, and quantising
        it would cost a kernel of its own.
        """
        x, weight = convolution.input[:2]
        constant = self._constants.get(weight)
        source = self._producers.get(x)
        while source is not None and source.op_type == "Cast":
            source = self._producers.get(source.input[0])
        if constant is None or (source is not None and source.op_type == "GlobalAveragePool"):
            return False
        groups = next((int(a.i) for a in convolution.attribute if a.name == "group"), 1)
        shape = constant.dims
        channels = shape[0] if convolution.op_type == "ConvTranspose" else shape[1] * groups
        return bool(self._is_unsigned or channels >= _MIN_CHANNELS)

    def _native_pool(self, node: Any) -> Iterator[Layer]:
        """A MaxPool whose result is compared with its input, to find the places of the maxima."""
        if all(user.op_type != "Equal" for user in self.consumers(node.output[0])):
            return
        x = node.input[0]
        padding = self._producers.get(x)
        if padding is not None and padding.op_type == "Pad" and _prefix(padding) == _prefix(node):
            x = padding.input[0]
        yield Layer(_prefix(node), "pool", self._node_names(node), x, node.output[0])

    def _native_unpool(self, node: Any) -> Iterator[Layer]:
        """A DepthToSpace of four planes, each of which one place in the windows selects."""
        planes = self._producers.get(node.input[0])
        if planes is None or planes.op_type != "Concat":
            return
        selects = [self._producers.get(name) for name in planes.input]
        if any(s is None or s.op_type != "Where" or _prefix(s) != _prefix(node) for s in selects):
            return
        (x,) = {select.input[1] for select in selects if select is not None}
        own = tuple(planes.input) if self._is_unsigned else ()
        y = node.output[0]
        for user in self.consumers(y):
            if user.op_type == "Slice" and _prefix(user) == _prefix(node):
                y = user.output[0]
        yield Layer(_prefix(node), "unpool", self._node_names(node), x, y, planes=own)

    def _node_names(self, node: Any) -> tuple[str, ...]:
        return tuple(member.name for member in self._groups[_prefix(node)])


def _prefix(node: Any) -> str:
    """What the nodes of one layer share: `pool_1` of `pool_1/Slice0`."""
    return str(node.name).partition("/")[0]
