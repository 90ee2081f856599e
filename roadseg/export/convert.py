"""Walks a traced model and emits each of its layers as ONNX."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import fx, nn

from roadseg.core.errors import ModelError
from roadseg.core.wording import option
from roadseg.export.builder import GraphBuilder
from roadseg.export.lowering import Lowering
from roadseg.export.trace import Trace

_EXACT_SCALE = 1 / 256


class Converter:
    """Emits a trace into a graph.

    Args:
        trace: the traced model; where the input's scale is folded, its weights are changed.
        graph: where nodes are emitted.
        lowering: what pooling with indices and unpooling become.
        input_scale: what the graph's input has to be multiplied with to suit the model.
        modules: what emits a layer, by its type.
        functions: what emits a call of a function or a method, by the function or its name.
    """

    def __init__(
        self,
        trace: Trace,
        graph: GraphBuilder,
        lowering: Lowering,
        input_scale: float,
        *,
        modules: Mapping[type[nn.Module], Handler],
        functions: Mapping[Any, Handler],
    ) -> None:
        self.trace = trace
        self.graph = graph
        self.lowering = lowering
        self._module_handlers = modules
        self._function_handlers = functions
        self._input_scale = input_scale
        self._values: dict[fx.Node, Any] = {}
        self._modules = dict(trace.module.named_modules())

    def run(self, input_name: str) -> str:
        """Emit everything that the tensor `input_name` goes through; the logits' name returns.

        Raises:
            ModelError: the network uses an operation that export does not cover.
        """
        result = ""
        for node in self.trace.module.graph.nodes:
            if node.op == "placeholder":
                self._values[node] = self._scaled_input(node, input_name)
            elif node.op == "output":
                result = self.tensor(node.args[0])
            elif node.name not in self.trace.size_names:
                self._values[node] = self._handler(node)(self, node)
        return result

    def _scaled_input(self, node: fx.Node, input_name: str) -> str:
        """Fold the input's scale into what takes it, or multiply.

        It goes into the convolutions that take the input, or into the numbers that the network
        multiplies it with. In FP16 the scale of a convolution's input is made of two factors:
        1/256, which is exact, and the rest, which is near 1, for the weights. As a whole it would
        push small weights below 6e-5, where FP16 loses digits.
        """
        users = [user for user in node.users if user.name not in self.trace.size_names]
        convolutions = [
            self.module(user)
            for user in users
            if user.op == "call_module" and isinstance(self.module(user), nn.Conv2d)
        ]
        scale = self._input_scale
        if users and len(convolutions) == len(users):
            if self.graph.float16:
                input_name = self._multiplied(input_name, _EXACT_SCALE)
                scale /= _EXACT_SCALE
            for convolution in {id(c): c for c in convolutions}.values():
                convolution.weight.data.mul_(scale)
            return input_name
        if users and all(_is_scaling(user) for user in users):
            for user in users:
                factors: Any = user.args
                user.args = (node, scale * next(f for f in factors if f is not node))
            return input_name
        return self._multiplied(input_name, scale)

    def _multiplied(self, input_name: str, scale: float) -> str:
        return self.graph.add("Mul", [input_name, self.graph.number(scale)], name="normalise")

    def _handler(self, node: fx.Node) -> Handler:
        if node.op == "call_module":
            module_type = type(self.module(node))
            handler, what = self._module_handlers.get(module_type), module_type.__name__
        elif node.op in ("call_function", "call_method"):
            handler = self._function_handlers.get(node.target)
            what = getattr(node.target, "__name__", str(node.target))
        else:
            handler, what = None, f"the parameter {node.target}"
        if handler is None:
            raise ModelError(
                f"export does not cover {what} (at {self.name(node)})",
                fix="write the network with convolutions, pooling, interpolation, concatenation "
                "and sums",
            )
        return handler

    def value(self, node: Any) -> Any:
        """What a node's handler returned: a tensor's name, or a tuple of names."""
        return self._values[node]

    def tensor(self, node: Any) -> str:
        """The name of the ONNX tensor that holds a node's result.

        Raises:
            ModelError: the node has several results or is no tensor.
        """
        value = self._values.get(node)
        if not isinstance(value, str):
            raise ModelError(
                f"export expected one tensor, got {node}",
                fix="let the network return its class scores and nothing else",
            )
        return value

    def shapes(self, node: fx.Node) -> list[Any]:
        """What `node` was at each of the sizes looked at: a shape, an int, or a tuple of those."""
        return [shapes[node.name] for shapes in self.trace.shapes]

    def module(self, node: fx.Node) -> Any:
        """The layer that a node calls."""
        return self._modules[str(node.target)]

    def name(self, node: fx.Node) -> str:
        """A name for the node's ONNX counterpart: the layer's path where there is one."""
        return str(node.target) if node.op == "call_module" else node.name

    def dimensions(self, sizes: Any) -> list[str]:
        """Sizes as (1,) int64 tensors, one for each.

        With free input sizes nothing that depends on them may be baked in: such a size is read
        from the tensor that the model reads it from.

        Args:
            sizes: ints and nodes derived from a tensor's shape, or one node for several sizes.

        Raises:
            ModelError: a size is computed in a way that export does not follow.
        """
        if isinstance(sizes, (tuple, list)):
            return [name for size in sizes for name in self._dimension(size)]
        return self._dimension(sizes)

    def _dimension(self, size: Any) -> list[str]:
        if not isinstance(size, fx.Node):
            return [self.graph.constant([int(size)], np.int64)]
        seen = [value if isinstance(value, tuple) else (value,) for value in self.shapes(size)]
        if self.trace.static or len(set(seen)) == 1:
            return [self.graph.constant([int(value)], np.int64) for value in seen[0]]
        tensor, axes = _shape_source(size)
        shape = self.graph.add("Shape", [self.tensor(tensor)], name=f"{size.name}/Shape")
        picks = [self.graph.constant([axis], np.int64) for axis in axes]
        name = f"{size.name}/Gather"
        return [self.graph.add("Gather", [shape, pick], name=name, axis=0) for pick in picks]


Handler: TypeAlias = Callable[[Converter, fx.Node], Any]
"""Emits one node; returns the name of its tensor, or a tuple of names."""


def _is_scaling(node: fx.Node) -> bool:
    """Whether a node multiplies a tensor with a number."""
    if node.target not in (operator.mul, torch.mul):
        return False
    return sum(isinstance(factor, (int, float)) for factor in node.args) == 1


def _is_shape(value: Any) -> bool:
    if not isinstance(value, fx.Node):
        return False
    if value.target is getattr:
        return value.args[1] == "shape"
    return value.op == "call_method" and value.target == "size"


def _shape_source(node: fx.Node) -> tuple[Any, list[int]]:
    """Whose axes sizes are: follows `x.shape[2]`, `x.shape[-2:][0]`, `x.size(2)`, `x.size()[2]`."""
    if node.target == "size" and len(node.args) == 2:
        return node.args[0], [int(node.args[1]) % 4]  # type: ignore[arg-type]
    keys: list[Any] = []
    at: Any = node
    while isinstance(at, fx.Node) and at.target is operator.getitem:
        keys.append(at.args[1])
        at = at.args[0]
    if not _is_shape(at):
        raise ModelError(
            f"export cannot follow how {node.name} is computed from the input's size",
            fix=f"give a fixed {option('--size')}",
        )
    axes: Any = [0, 1, 2, 3]
    for key in reversed(keys):
        axes = axes[key]
    return at.args[0], [axes] if isinstance(axes, int) else axes
