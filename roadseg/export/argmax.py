"""ArgMax the way OpenVINO's CPU plugin runs it fastest.

The plugin computes ArgMax as TopK, which on channels-last scores takes up to a third of an INT8
network's time. Two other ways give the same labels; docs/speed.md has what they take.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.core.openvino import import_openvino

_SCORES = "scores in blocks of {}"
"""Name of the scores where no tensor holds them at full size: (N, B * B * C, H / B, W / B), in the
order that DepthToSpace calls blocks first."""

_WHOLE = 1 << 24
"""Up to here float32 holds every whole number."""

_COARSEST = 1 / 256
"""Scores may be rounded to so much: an INT8 network is less sure of them than that."""


def pick_by_reductions(scores: Any) -> Any:
    """(N, H, W) uint8 labels of (N, C, H, W) scores: the lowest id whose score is the maximum.

    Scores are finite for finite weights; a NaN would give the last class.
    """
    ops = import_openvino().opset13
    classes = scores.get_partial_shape()[1].get_length()
    channel = ops.constant(np.int64(1))
    best = ops.reduce_max(scores, channel, True)
    ids = ops.constant(np.arange(classes, dtype=np.float32).reshape(1, classes, 1, 1))
    last = ops.constant(np.float32(classes - 1))
    candidates = ops.select(ops.equal(scores, best), ids, last)
    return ops.convert(ops.reduce_min(candidates, channel, False), "u8").output(0)


def pick_in_blocks(scores: Any) -> Any | None:
    """The same labels where an INT8 transposed convolution wrote the scores in blocks.

    Where blocks do not overlap, what it computes is a 1x1 convolution at the size of its input.
    OpenVINO runs that in INT8; transposed ones of 32 channels it runs in FP32. Scores never exist
    at full size: each is rounded, times 2^b, plus its id counted from behind, so that one maximum
    tells the label, too. The sum is exact, since no score can be larger than weights and 8-bit
    activations allow.

    Args:
        scores: (N, C, H, W) float32, an output of the graph that is rewritten.

    Returns:
        (N, H, W) uint8 labels, whose score is at most 1/256 below the highest; None where another
        operation computes the scores, or one that is not INT8.
    """
    ops = import_openvino().opset13
    layer = _BlockLayer.of(scores)
    if layer is None:
        return None
    block, classes = layer.block, layer.classes
    bits = max(1, math.ceil(math.log2(classes)))
    per_unit = 2.0 ** math.floor(math.log2((_WHOLE / 2**bits - 1) / max(layer.bound, 1)))
    if per_unit < 1 / _COARSEST:
        return None
    by_block = ops.add(
        ops.convolution(layer.features, layer.weights(), [1, 1], [0, 0], [0, 0], [1, 1]),
        ops.constant(np.tile(layer.bias, block**2).reshape(1, -1, 1, 1)),
        name=_SCORES.format(block),
    )
    from_behind = np.tile(2**bits - 1 - np.arange(classes, dtype=np.float32), block**2)
    rounded = ops.round(ops.multiply(by_block, _number(per_unit)), "half_to_even")
    ranked = ops.add(
        ops.multiply(rounded, _number(2**bits)), ops.constant(from_behind.reshape(1, -1, 1, 1))
    )
    # Channels last, as convolutions leave them: neither of the next two moves anything.
    last = ops.transpose(ranked, ops.constant(np.array([0, 2, 3, 1])))
    apart = ops.constant(np.array([0, 0, 0, block**2, classes]))
    best = ops.reduce_max(ops.reshape(last, apart, True), ops.constant(np.int64(4)), False)
    whole = ops.multiply(ops.floor(ops.multiply(best, _number(2**-bits))), _number(2**bits))
    ids = ops.subtract(_number(2**bits - 1), ops.subtract(best, whole))
    planes = ops.transpose(ops.convert(ids, "u8"), ops.constant(np.array([0, 3, 1, 2])))
    labels = ops.depth_to_space(planes, "blocks_first", block)
    return ops.squeeze(labels, ops.constant(np.array([1]))).output(0)


def scores_in_blocks(model: Any) -> Any | None:
    """(N, C, H, W) scores of an `openvino.Model` as `pick_in_blocks` leaves it; else None."""
    before, after = _SCORES.split("{}")
    for node in model.get_ops():
        name: str = node.get_friendly_name()
        if name.startswith(before) and name.endswith(after):
            block = int(name[len(before) : len(name) - len(after)])
            ops = import_openvino().opset13
            return ops.depth_to_space(node.output(0), "blocks_first", block).output(0)
    return None


@dataclass(frozen=True)
class _BlockLayer:
    """A transposed convolution in INT8 whose kernel is as large as its stride.

    Attributes:
        features: (N, F, h, w), its input: dequantised.
        quantised: (F, C, B, B) whole numbers, its weights.
        scale: of them, (C,).
        bias: (C,) float32.
        bound: no score is farther from zero.
    """

    features: Any
    quantised: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    bias: npt.NDArray[np.float32]
    bound: float

    @classmethod
    def of(cls, scores: Any) -> _BlockLayer | None:
        """The layer that computes scores; None where it is another kind of layer."""
        add = scores.get_node()
        if add.get_type_name() != "Add":
            return None
        layer, bias = add.input_value(0).get_node(), add.input_value(1)
        if layer.get_type_name() != "ConvolutionBackpropData":
            return None
        how = layer.get_attributes()
        kernel = list(layer.input_value(1).get_shape())[2:]
        block = kernel[0]
        plain = (
            kernel == [block, block] == how["strides"]
            and how["dilations"] == [1, 1]
            and how["pads_begin"] == how["pads_end"] == how["output_padding"] == [0, 0]
        )
        features, weights = (layer.input_value(port) for port in (0, 1))
        farthest = _farthest(features)
        if not plain or farthest is None or _farthest(weights) is None:
            return None
        quantised, scale = (_value(port) for port in weights.get_node().input_values())
        offsets = _value(bias).reshape(-1)
        spans = np.abs(quantised * scale).sum(0).max((1, 2)) * farthest
        bound = float((spans + np.abs(offsets)).max())
        return cls(features, quantised, scale.reshape(-1), offsets, bound)

    @property
    def block(self) -> int:
        return int(self.quantised.shape[2])

    @property
    def classes(self) -> int:
        return int(self.quantised.shape[1])

    def weights(self) -> Any:
        """(B * B * C, F, 1, 1), dequantised: row and column in the block, then the class."""
        ops = import_openvino().opset13
        features = len(self.quantised)
        rows = self.quantised.transpose(2, 3, 1, 0).reshape(-1, features, 1, 1)
        scale = np.tile(self.scale, self.block**2).reshape(-1, 1, 1, 1)
        whole = ops.constant(np.ascontiguousarray(rows.astype(np.int8)))
        return ops.multiply(ops.convert(whole, "f32"), ops.constant(scale))


def _farthest(port: Any) -> float | None:
    """How far from zero a dequantised tensor can be; None for one that is not dequantised."""
    multiply = port.get_node()
    if multiply.get_type_name() != "Multiply":
        return None
    whole, zero = multiply.input_value(0).get_node(), np.zeros((), np.float32)
    if whole.get_type_name() == "Subtract":
        zero = _value(whole.input_value(1))
        whole = whole.input_value(0).get_node()
    if whole.get_type_name() != "Convert":
        return None
    kind = whole.input_value(0).get_element_type()
    if kind.get_type_name() not in ("u8", "i8"):
        return None
    limits = np.iinfo(kind.to_dtype())
    steps = np.maximum(np.abs(limits.min - zero), np.abs(limits.max - zero))
    return float((steps * _value(multiply.input_value(1))).max())


def _value(port: Any) -> npt.NDArray[np.float32]:
    """What constants alone compute."""
    ov = import_openvino()
    tensor = ov.Tensor(ov.Type.f32, ov.Shape(list(port.get_shape())))
    ov.Model([port], []).evaluate([tensor], [])
    return np.array(tensor.data, np.float32)


def _number(value: float) -> Any:
    ops = import_openvino().opset13
    return ops.constant(np.float32(value))
