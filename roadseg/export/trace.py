"""From a PyTorch model to a flat graph of its layers, ready to be written as ONNX.

The trace is symbolic (`torch.fx`): it sees the model's own layers rather than the kernels under
them, so that pooling and unpooling stay single nodes that a lowering can replace. Networks here are
feed-forward: nothing depends on the values of tensors, and on their sizes only through
`interpolate`, `expand` and crops.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from roadseg.core.errors import ModelError, first_line
from roadseg.core.wording import option
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices

_REFERENCE_SIZES_HW = ((64, 96), (128, 160))
"""Where shapes of a model with free sizes are looked at: multiples of 32 that share no ratio."""


@dataclass(frozen=True)
class Trace:
    """A traced model.

    Attributes:
        module: the layers, batch normalisation folded into the convolutions before it.
        shapes: for each input size that was looked at, the result of each node by name: a shape
            for tensors, ints and tuples of ints for what is derived from shapes.
        size_names: names of the nodes that yield sizes, not tensors.
        static: whether the graph is for one size only.
    """

    module: fx.GraphModule
    shapes: tuple[dict[str, Any], ...]
    size_names: frozenset[str]
    static: bool

    @property
    def output_channels(self) -> int:
        """Number of class scores per pixel."""
        return int(self.shapes[0]["output"][1])


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if isinstance(m, (MaxPoolIndices, IndexUnpool)):
            return True
        return super().is_leaf_module(m, module_qualified_name)


class _Shapes(fx.Interpreter):
    """Runs the graph on the meta device: shapes without arithmetic."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(copy.deepcopy(module).to("meta"))
        self.shapes: dict[str, Any] = {}
        self.size_names: set[str] = set()

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(self.fetch_attr(str(target)), IndexUnpool):
            # PyTorch has no shape rule for unpooling.
            values = dict(zip(("x", "indices", "like"), args, strict=False)) | kwargs
            return values["x"].new_empty((*values["x"].shape[:2], *values["like"].shape[2:]))
        return super().call_module(target, args, kwargs)

    def run_node(self, n: fx.Node) -> Any:
        result = super().run_node(n)
        self.shapes[n.name] = _shape_of(result)
        if isinstance(result, (int, torch.Size)):
            self.size_names.add(n.name)
        return result


def _shape_of(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return tuple(value.shape)
    if isinstance(value, (tuple, list)):
        return tuple(_shape_of(item) for item in value)
    return value


def _fold_batch_norm(module: fx.GraphModule) -> None:
    """Fold each batch normalisation into the convolution whose result only it takes."""
    modules = dict(module.named_modules())
    uses: dict[str, int] = {}
    for node in module.graph.nodes:
        if node.op == "call_module":
            uses[node.target] = uses.get(node.target, 0) + 1
    for node in list(module.graph.nodes):
        if node.op != "call_module" or not isinstance(modules[node.target], nn.BatchNorm2d):
            continue
        before = node.args[0]
        if before.op != "call_module" or len(before.users) != 1:
            continue
        convolution = modules[before.target]
        if not isinstance(convolution, (nn.Conv2d, nn.ConvTranspose2d)):
            continue
        if uses[node.target] > 1 or uses[before.target] > 1:
            continue
        fused = fuse_conv_bn_eval(
            convolution, modules[node.target], transpose=isinstance(convolution, nn.ConvTranspose2d)
        )
        parent, _, leaf = before.target.rpartition(".")
        setattr(module.get_submodule(parent), leaf, fused)
        modules[before.target] = fused
        node.replace_all_uses_with(before)
        module.graph.erase_node(node)
    module.recompile()


def trace_model(model: nn.Module, size_hw: tuple[int, int] | None) -> Trace:
    """Trace `model`, which takes (N, 3, H, W) float and returns (N, classes, H, W) logits.

    Args:
        model: not changed; a copy of it is put into inference mode.
        size_hw: the one input size the graph is for; None for any multiple of 32.

    Raises:
        ModelError: the model's flow depends on values, or it fails at that size.
    """
    copied = copy.deepcopy(model).eval().float().cpu()
    try:
        graph = _Tracer().trace(copied)
    except (fx.proxy.TraceError, TypeError) as exc:
        detail = first_line(exc)
        raise ModelError(
            f"{type(model).__name__} cannot be exported ({detail})",
            fix="write its forward without branches on tensors or their sizes",
        ) from exc
    module = fx.GraphModule(copied, graph)
    with torch.no_grad():
        _fold_batch_norm(module)
    sizes = _REFERENCE_SIZES_HW if size_hw is None else (size_hw,)
    shapes = []
    for h, w in sizes:
        interpreter = _Shapes(module)
        try:
            interpreter.run(torch.empty(1, 3, h, w, device="meta"))
        except RuntimeError as exc:
            detail = first_line(exc)
            raise ModelError(
                f"{type(model).__name__} cannot take {h}x{w} frames ({detail})",
                fix=f"use a larger {option('--size')}",
            ) from exc
        shapes.append(interpreter.shapes)
    return Trace(
        module=module,
        shapes=tuple(shapes),
        size_names=frozenset(interpreter.size_names),
        static=size_hw is not None,
    )
