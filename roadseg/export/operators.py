"""The operations that export covers: one small handler for each, PyTorch in, ONNX out."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional as F

from roadseg.core.errors import ModelError
from roadseg.export.convert import Converter, Handler
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices

_END = 2**31 - 1


def _argument(node: fx.Node, position: int, keyword: str, default: Any = None) -> Any:
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(keyword, default)


def _pair(value: Any) -> list[int]:
    return [int(v) for v in value] if isinstance(value, (tuple, list)) else [int(value)] * 2


def _parameter(c: Converter, tensor: torch.Tensor, name: str) -> str:
    return c.graph.number(tensor.detach().numpy(), name)


def _convolution(c: Converter, node: fx.Node) -> str:
    m = c.module(node)
    if m.padding_mode != "zeros" or isinstance(m.padding, str):
        raise ModelError(
            "export covers zero padding given in pixels only", fix=f"see {node.target}"
        )
    inputs = [c.tensor(node.args[0]), _parameter(c, m.weight, f"{node.target}.weight")]
    if m.bias is not None:
        inputs.append(_parameter(c, m.bias, f"{node.target}.bias"))
    attributes: dict[str, Any] = {
        "kernel_shape": list(m.kernel_size),
        "strides": list(m.stride),
        "pads": list(m.padding) * 2,
        "dilations": list(m.dilation),
        "group": m.groups,
    }
    op_type = "Conv"
    if isinstance(m, nn.ConvTranspose2d):
        op_type = "ConvTranspose"
        attributes["output_padding"] = list(m.output_padding)
    return c.graph.add(op_type, inputs, name=c.name(node), **attributes)


def _batch_norm(c: Converter, node: fx.Node) -> str:
    """One that no convolution precedes: the others are folded before."""
    m = c.module(node)
    gain = m.weight * torch.rsqrt(m.running_var + m.eps)
    shift = m.bias - m.running_mean * gain
    # As a product and a sum: variances leave the range of FP16 before gains do.
    factors, terms = (
        _parameter(c, tensor[:, None, None], f"{node.target}.{name}")
        for tensor, name in ((gain, "weight"), (shift, "bias"))
    )
    scaled = c.graph.add("Mul", [c.tensor(node.args[0]), factors], name=f"{c.name(node)}/Mul")
    return c.graph.add("Add", [scaled, terms], name=c.name(node))


def _pool_indices(c: Converter, node: fx.Node) -> tuple[str, str]:
    h, w = c.shapes(node.args[0])[0][2:]  # type: ignore[arg-type]
    x = c.tensor(node.args[0])
    # Pools share one module: the node's own name tells them apart.
    return c.lowering.pool(c.graph, x, pad_hw=(h % 2, w % 2), name=node.name)


def _index_unpool(c: Converter, node: fx.Node) -> str:
    x: Any = node.args[0]
    index = c.value(_argument(node, 1, "indices"))
    h, w = c.shapes(x)[0][2:]
    out_h, out_w = c.shapes(node)[0][2:]
    crop_hw = (2 * h - out_h, 2 * w - out_w)
    if not set(crop_hw) <= {0, 1}:
        raise ModelError(
            f"{c.name(node)} unpools {h}x{w} maps to {out_h}x{out_w}",
            fix="give it twice the size, or one less",
        )
    return c.lowering.unpool(c.graph, c.tensor(x), index, crop_hw=crop_hw, name=node.name)


def _window(m: nn.Module) -> dict[str, Any]:
    return {
        "kernel_shape": _pair(m.kernel_size),
        "strides": _pair(m.stride),
        "pads": _pair(m.padding) * 2,
        "ceil_mode": int(m.ceil_mode),  # type: ignore[arg-type]
    }


def _max_pool(c: Converter, node: fx.Node) -> str:
    m = c.module(node)
    x = c.tensor(node.args[0])
    dilations = _pair(m.dilation)
    return c.graph.add("MaxPool", [x], name=c.name(node), dilations=dilations, **_window(m))


def _average_pool(c: Converter, node: fx.Node) -> str:
    m = c.module(node)
    x = c.tensor(node.args[0])
    include = int(m.count_include_pad)
    return c.graph.add(
        "AveragePool", [x], name=c.name(node), count_include_pad=include, **_window(m)
    )


def _global_average(c: Converter, node: fx.Node) -> str:
    if any(shape[2:] != (1, 1) for shape in c.shapes(node)):
        raise ModelError(
            "export covers means over the whole map with both axes kept", fix=f"see {c.name(node)}"
        )
    return _in_float32(c, node, "GlobalAveragePool")


def _response_norm(c: Converter, node: fx.Node) -> str:
    m = c.module(node)
    return _in_float32(
        c,
        node,
        "LRN",
        size=m.size,
        alpha=float(m.alpha),
        beta=float(m.beta),
        bias=float(m.k),
    )


def _in_float32(c: Converter, node: fx.Node, op_type: str, **attributes: Any) -> str:
    """What sums so much that FP16 would overflow: squares of 0..255, a whole map's values.

    The result has the same name in graphs of either precision.
    """
    name, x = c.name(node), c.tensor(node.args[0])
    if not c.graph.float16:
        return c.graph.add(op_type, [x], name=name, **attributes)
    wide = c.graph.widen(x, f"{name}/to_float32")
    exact = c.graph.add(op_type, [wide], name=f"{name}/{op_type}", **attributes)
    return c.graph.narrow(exact, name)


def _unary(op_type: str) -> Handler:
    def emit(c: Converter, node: fx.Node) -> str:
        return c.graph.add(op_type, [c.tensor(node.args[0])], name=c.name(node))

    return emit


def _clipped_at_six(c: Converter, node: fx.Node) -> str:
    ends = [c.graph.number(value, node.name) for value in (0.0, 6.0)]
    return c.graph.add("Clip", [c.tensor(node.args[0]), *ends], name=c.name(node))


def _binary(op_type: str) -> Handler:
    def emit(c: Converter, node: fx.Node) -> str:
        operands: Any = node.args[:2]
        if op_type == "Mul" and operands[1:] == (1.0,):
            return c.tensor(operands[0])
        inputs = [
            c.tensor(a) if isinstance(a, fx.Node) else c.graph.number(a, node.name)
            for a in operands
        ]
        return c.graph.add(op_type, inputs, name=c.name(node))

    return emit


def _same(c: Converter, node: fx.Node) -> str:
    return c.tensor(node.args[0])


def _concat(c: Converter, node: fx.Node) -> str:
    parts: Any = _argument(node, 0, "tensors")
    axis = _argument(node, 1, "dim", 0)
    return c.graph.add("Concat", [c.tensor(p) for p in parts], name=c.name(node), axis=axis)


def _expand(c: Converter, node: fx.Node) -> str:
    sizes: Any = node.args[1:]
    if len(sizes) == 1 and isinstance(sizes[0], (tuple, list)):
        sizes = sizes[0]
    # A 1 in ONNX's Expand keeps the axis as it is, as -1 does in PyTorch's.
    parts = c.dimensions([1 if isinstance(s, int) and s == -1 else s for s in sizes])
    shape = c.graph.add("Concat", parts, name=f"{node.name}/sizes", axis=0)
    return c.graph.add("Expand", [c.tensor(node.args[0]), shape], name=c.name(node))


def _expand_as(c: Converter, node: fx.Node) -> str:
    shape = c.graph.add("Shape", [c.tensor(node.args[1])], name=f"{node.name}/Shape")
    return c.graph.add("Expand", [c.tensor(node.args[0]), shape], name=c.name(node))


def _interpolate(c: Converter, node: fx.Node) -> str:
    """By a factor where one holds for every input size, else to a size."""
    source: Any = node.args[0]
    if node.op == "call_module":
        m = c.module(node)
        size, factor, mode, align = m.size, m.scale_factor, m.mode, m.align_corners
    else:
        size = _argument(node, 1, "size")
        factor = _argument(node, 2, "scale_factor")
        mode = _argument(node, 3, "mode", "nearest")
        align = _argument(node, 4, "align_corners")
    if mode not in ("nearest", "bilinear"):
        raise ModelError(
            "export covers nearest and bilinear interpolation", fix=f"see {c.name(node)}"
        )
    attributes: dict[str, Any] = {
        "mode": "nearest",
        "coordinate_transformation_mode": "asymmetric",
        "nearest_mode": "floor",
    }
    if mode == "bilinear":
        transform = "align_corners" if align else "half_pixel"
        attributes = {"mode": "linear", "coordinate_transformation_mode": transform}
    x = c.tensor(source)
    ratios = {
        (after[2] / before[2], after[3] / before[3])
        for before, after in zip(c.shapes(source), c.shapes(node), strict=True)
    }
    if factor is not None:
        factors = tuple(factor) if isinstance(factor, (tuple, list)) else (factor, factor)
    elif len(ratios) == 1 and not c.trace.static:
        factors = ratios.pop()
    else:
        kept = c.graph.add("Shape", [x], name=f"{node.name}/Shape", start=0, end=2)
        parts = [kept, *c.dimensions(size)]
        sizes = c.graph.add("Concat", parts, name=f"{node.name}/sizes", axis=0)
        return c.graph.add("Resize", [x, "", "", sizes], name=c.name(node), **attributes)
    scales = c.graph.constant([1.0, 1.0, *factors], np.float32)
    return c.graph.add("Resize", [x, "", scales], name=c.name(node), **attributes)


def _get_item(c: Converter, node: fx.Node) -> Any:
    """One of several results, or a crop."""
    source: Any
    key: Any
    source, key = node.args
    value = c.value(source)
    if isinstance(value, tuple):
        return value[key]
    if c.shapes(source) == c.shapes(node):
        return value  # cuts nothing off at any size the graph is for
    keys: tuple[Any, ...] = key if isinstance(key, tuple) else (key,)
    if Ellipsis in keys:
        at = keys.index(Ellipsis)
        keys = (*keys[:at], *[slice(None)] * (5 - len(keys)), *keys[at + 1 :])
    starts: list[str] = []
    ends: list[str] = []
    axes: list[int] = []
    for axis, part in enumerate(keys):
        if not isinstance(part, slice) or part.step not in (None, 1):
            raise ModelError("export covers crops, no other indexing", fix=f"see {node.name}")
        if part != slice(None):
            axes.append(axis)
            starts += c.dimensions([0 if part.start is None else part.start])
            ends += c.dimensions([_END if part.stop is None else part.stop])
    start = c.graph.add("Concat", starts, name=f"{node.name}/starts", axis=0)
    end = c.graph.add("Concat", ends, name=f"{node.name}/ends", axis=0)
    inputs = [value, start, end, c.graph.constant(axes, np.int64)]
    return c.graph.add("Slice", inputs, name=c.name(node))


MODULES: Mapping[type[nn.Module], Handler] = MappingProxyType(
    {
        nn.Conv2d: _convolution,
        nn.ConvTranspose2d: _convolution,
        nn.BatchNorm2d: _batch_norm,
        MaxPoolIndices: _pool_indices,
        IndexUnpool: _index_unpool,
        nn.MaxPool2d: _max_pool,
        nn.AvgPool2d: _average_pool,
        nn.AdaptiveAvgPool2d: _global_average,
        nn.LocalResponseNorm: _response_norm,
        nn.ReLU: _unary("Relu"),
        nn.ReLU6: _clipped_at_six,
        nn.Sigmoid: _unary("Sigmoid"),
        nn.Upsample: _interpolate,
        nn.UpsamplingBilinear2d: _interpolate,
        nn.Identity: _same,
        nn.Dropout: _same,
        nn.Dropout2d: _same,
    }
)
"""Handlers by layer."""

FUNCTIONS: Mapping[Any, Handler] = MappingProxyType(
    {
        F.relu: _unary("Relu"),
        F.relu6: _clipped_at_six,
        torch.relu: _unary("Relu"),
        torch.sigmoid: _unary("Sigmoid"),
        operator.add: _binary("Add"),
        operator.iadd: _binary("Add"),
        torch.add: _binary("Add"),
        operator.sub: _binary("Sub"),
        operator.mul: _binary("Mul"),
        torch.mul: _binary("Mul"),
        torch.cat: _concat,
        F.interpolate: _interpolate,
        F.adaptive_avg_pool2d: _global_average,
        torch.mean: _global_average,
        "mean": _global_average,
        "expand": _expand,
        "expand_as": _expand_as,
        F.dropout: _same,
        "contiguous": _same,
        operator.getitem: _get_item,
    }
)
"""Handlers by function, and by name for methods of tensors."""
