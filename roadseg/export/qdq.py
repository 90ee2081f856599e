"""Explicit INT8 in an ONNX graph: QuantizeLinear and DequantizeLinear.

INT8 throughout with zero points of 0. A value x becomes round(x / scale), clipped to -128..127. For
OpenVINO, activations that are never negative are unsigned: half the scale, clipped to 0..255.

- Weights are stored as INT8, with one scale for each output channel, and dequantised in the graph.
  Biases stay float.
- Activations have one scale for each tensor: Q and DQ before every quantised convolution. All that
  reads such a tensor (a shortcut's sum, say) reads it dequantised, so that memory holds INT8 only.
- One scale is carried through pools and unpools. In the plugin lowering their nodes take and give
  INT8 (Q -> MaxPoolIndex -> MaxUnpoolIndex -> DQ, dequantised only where something else reads
  them). In the native lowering, the slices and the maximum that `Equal` compares see one and the
  same dequantised tensor; the pair behind them changes no value, and tells TensorRT that the maps
  that it moves are INT8.

**Room for sums.** A processor without VNNI multiplies unsigned by signed bytes two at a time and
adds both products in 16 bits, which end at 32767 = 255 * 128.5: larger sums come out wrong. In an
unsigned graph the scale of a channel's weights leaves room for the largest such pair, so that every
processor computes the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import ModelError, first_line
from roadseg.core.wording import option
from roadseg.export.quantizable import Layer, QuantizableGraph
from roadseg.weights.calibration import Calibration, check_weights

_FLOAT16_SMALLEST_NORMAL = 2.0**-14
_QUANTIZED_MAX = 127
_PAIR_MAX = 127
"""What the magnitudes of two weights may add up to before they are rounded, and 128 after."""

_FEW_CHANNELS = 4


def insert_qdq(onnx_model: Any, calibration: Calibration, *, unsigned: bool = False) -> Any:
    """Quantise a graph.

    Args:
        onnx_model: what `build_onnx` returned, of any lowering and float type; not changed.
        calibration: of that network; its `float_layers` stay float.
        unsigned: for OpenVINO (FP32 and native lowering only), rather than TensorRT: activations
            that are never negative become unsigned, and the first convolution INT8.

    Returns:
        A checked `onnx.ModelProto` whose metadata say `int8`.

    Raises:
        ModelError: the calibration is of another network or other weights, lacks a scale, or has
            one that an FP16 graph cannot hold.
    """
    import onnx

    facts = {entry.key: entry.value for entry in onnx_model.metadata_props}
    check_weights(calibration, model=facts["model"], weights_sha256=facts["weights_sha256"])
    model = onnx.ModelProto()
    model.CopyFrom(onnx_model)
    _Quantizer(model.graph, calibration, unsigned).run()
    facts["precision"] = "int8"
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, facts)
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
        detail = first_line(exc)
        raise ModelError(
            f"the quantised graph is not valid ONNX ({detail})",
            fix=f"use {option('--precision', 'fp16')}",
        ) from exc
    return model


def quantize_weights(
    weights: npt.NDArray[Any], axis: int, *, room: bool = False
) -> tuple[npt.NDArray[np.int8], npt.NDArray[Any]]:
    """Round weights to INT8, symmetrically, with one scale for each index along an axis.

    Args:
        weights: float16 or float32, of a convolution.
        axis: that of the output channels, 0 or 1; the other is that of the input channels.
        room: leave room for sums of two products with unsigned bytes in 16 bits.

    Returns:
        INT8 values in -127..127 of the same shape, and scales of the weights' own type. Scales are
        rounded to that type before they are used. In FP16 none is below the smallest normal
        number, 6.1e-5: processors that flush smaller ones to zero would lose the channel.
    """
    by_output = np.moveaxis(weights.astype(np.float64), axis, 0)
    peaks = np.abs(by_output).max(axis=(1, 2, 3))
    steps = peaks / _QUANTIZED_MAX
    if room:
        steps = np.maximum(steps, _pair_sums(by_output) / _PAIR_MAX)
    scales = _as_scale(np.where(peaks > 0, steps, 1.0), weights.dtype)
    rounded = np.rint(by_output / scales.astype(np.float64).reshape(-1, 1, 1, 1))
    values = rounded.clip(-_QUANTIZED_MAX, _QUANTIZED_MAX).astype(np.int8)
    return np.ascontiguousarray(np.moveaxis(values, 0, axis)), scales


def _pair_sums(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """(outputs,) the largest sum of two magnitudes of one sign that are multiplied together.

    Kernels pair neighbouring input channels, first and second, third and fourth... Where there are
    few of them they may pair positions as well: then any two weights count.

    Args:
        weights: (outputs, inputs, height, width).
    """
    outputs, inputs, *window = weights.shape
    signs = np.stack([weights.clip(0, None), -weights.clip(None, 0)])
    if inputs < _FEW_CHANNELS:
        sums = np.sort(signs.reshape(2, outputs, -1))[..., -2:].sum(-1)
    else:
        signs = np.pad(signs, ((0, 0), (0, 0), (0, inputs % 2), (0, 0), (0, 0)))
        sums = signs.reshape(2, outputs, -1, 2, *window).sum(3).max((2, 3, 4))
    largest: npt.NDArray[np.float64] = sums.max(0)
    return largest


def _as_scale(values: npt.ArrayLike, dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    array = np.asarray(values, np.float64)
    if np.dtype(dtype) == np.float16:
        array = np.maximum(array, _FLOAT16_SMALLEST_NORMAL)
    return array.astype(dtype)


class _Quantizer:
    """Rewrites one `onnx.GraphProto`, in place."""

    def __init__(self, graph: Any, calibration: Calibration, unsigned: bool) -> None:
        import onnx

        self._graph = graph
        self._calibration = calibration
        self._structure = QuantizableGraph(graph, unsigned=unsigned)
        self._types = _float_types(graph)
        self._helper: Any = onnx.helper
        self._numpy_helper: Any = onnx.numpy_helper
        self._constants: dict[str, Any] = {i.name: i for i in graph.initializer}
        self._weights: set[str] = set()
        layers = self._structure.layers.values()
        self._layers = [layer for layer in layers if layer.name not in calibration.float_layers]
        plugins = [layer for layer in self._layers if layer.is_plugin]
        self._layer_of = {name: layer for layer in self._layers for name in layer.node_names}
        self._float_nodes = {
            name
            for layer in layers
            if layer.name in calibration.float_layers
            for name in layer.node_names
        }
        # Tensors that are INT8 as they come; behind the others of `_quantized` goes a Q.
        self._born_int8 = {layer.y for layer in plugins}
        self._quantized = {layer.x for layer in self._layers} | self._born_int8
        moving = [layer for layer in self._layers if layer.kind != "conv"]
        self._planes = {plane for layer in moving for plane in layer.planes}
        if unsigned:
            # OpenVINO carries a quantiser through a pool. Not through an unpool: a convolution that
            # read signed planes without one of its own would lose two labels of a hundred.
            self._quantized -= {layer.y for layer in moving if layer.kind == "pool"}
            self._quantized |= self._planes
        else:
            self._quantized |= {layer.y for layer in moving if layer.kind == "unpool"}
        self._wanted: set[str] = set()

    def run(self) -> None:
        nodes = list(self._graph.node)
        before = {node.name: self._before(node) for node in nodes}
        for node in nodes:
            self._rewire(node)
        emitted: list[Any] = []
        for graph_input in self._graph.input:
            emitted += self._behind(graph_input.name)
        for node in nodes:
            emitted += before[node.name]
            produced = list(node.output)
            if node.name in self._layer_of and self._layer_of[node.name].is_plugin:
                node.output[0] = _int8(produced[0])
            emitted.append(node)
            for tensor in produced:
                emitted += self._behind(tensor)
        del self._graph.node[:]
        self._graph.node.extend(emitted)
        self._retype_declarations()
        read = {name for node in emitted for name in node.input}
        kept = [i for i in self._constants.values() if i.name in read]
        del self._graph.initializer[:]
        self._graph.initializer.extend(kept)

    def _before(self, node: Any) -> list[Any]:
        """The nodes that a convolution's weights become; it reads them from then on."""
        layer = self._layer_of.get(node.name)
        if layer is None or layer.kind != "conv":
            return []
        weight = node.input[1]
        emitted: list[Any] = []
        node.input[1] = _dequantized(weight)
        if weight not in self._weights:
            self._weights.add(weight)
            axis = 1 if node.op_type == "ConvTranspose" else 0
            array = self._numpy_helper.to_array(self._constants[weight])
            room = self._structure.is_unsigned(layer.x)
            values, scales = quantize_weights(array, axis, room=room)
            inputs = [
                self._constant(_int8(weight), values),
                self._constant(f"{weight}/scale", scales),
                self._constant(f"{weight}/zero", np.zeros(len(scales), np.int8)),
            ]
            emitted.append(
                self._helper.make_node(
                    "DequantizeLinear",
                    inputs,
                    [_dequantized(weight)],
                    name=f"{weight}/dequantize",
                    axis=axis,
                )
            )
        return emitted

    def _rewire(self, node: Any) -> None:
        """Let a node read the quantised tensors in the form that suits it."""
        layer = self._layer_of.get(node.name)
        for position, tensor in enumerate(node.input):
            if tensor not in self._quantized:
                continue
            if layer is not None and layer.is_plugin:
                name = _int8(tensor)
            elif self._reads_float(node, layer, tensor):
                continue
            else:
                name = _dequantized(tensor)
            self._wanted.add(name)
            node.input[position] = name

    def _reads_float(self, node: Any, layer: Layer | None, tensor: str) -> bool:
        """Whether a node goes on reading the float tensor, where there is one."""
        if tensor in self._born_int8 | self._planes:
            return False
        if node.op_type == "Shape" or node.name in self._float_nodes:
            return True
        # Inside a native unpool: what Crop takes off is not its result.
        return layer is not None and layer.kind != "conv" and tensor != layer.x

    def _behind(self, tensor: str) -> Iterator[Any]:
        """Q and DQ behind a tensor, as far as something reads them."""
        if tensor not in self._quantized:
            return
        int8, dequantized = _int8(tensor), _dequantized(tensor)
        scale, zero = self._scale(tensor), self._zero(tensor)
        if tensor not in self._born_int8 and {int8, dequantized} & self._wanted:
            yield self._helper.make_node(
                "QuantizeLinear", [tensor, scale, zero], [int8], name=f"{tensor}/quantize"
            )
        if dequantized in self._wanted:
            yield self._helper.make_node(
                "DequantizeLinear", [int8, scale, zero], [dequantized], name=f"{tensor}/dequantize"
            )

    def _zero(self, tensor: str) -> str:
        if self._structure.is_unsigned(tensor):
            return self._constant("uint8_zero", np.zeros((), np.uint8))
        return self._constant("int8_zero", np.zeros((), np.int8))

    def _scale(self, tensor: str) -> str:
        source = self._structure.scale_source(tensor)
        if self._structure.is_frame(source):
            # Not 1 itself: OpenVINO would drop the factor, and take the convolution for float.
            return self._constant("frame/scale", np.nextafter(np.float32(1), np.float32(2)))
        value = self._calibration.scales.get(source)
        if value is None:
            model = self._calibration.model
            raise ModelError(
                f"the calibration of {model} has no scale for {source}",
                fix=f"run 'roadseg calibrate --model {model} --data DIR|VIDEO'",
            )
        kind = np.dtype(self._types[tensor])
        if kind == np.float16 and value * _QUANTIZED_MAX > float(np.finfo(np.float16).max):
            raise ModelError(
                f"{source} reaches {value * _QUANTIZED_MAX:g} on the calibration frames, and "
                "FP16 ends at 65504",
                fix=f"use {option('--precision', 'fp32')} or train with weight decay",
            )
        if self._structure.is_unsigned(source):
            value /= 2
        return self._constant(f"{source}/scale", _as_scale(value, kind))

    def _constant(self, name: str, value: npt.NDArray[Any]) -> str:
        if name not in self._constants:
            self._constants[name] = self._numpy_helper.from_array(value, name)
        return name

    def _retype_declarations(self) -> None:
        """What the graph says of the types of tensors that plugins now yield in INT8."""
        int8_type = self._helper.np_dtype_to_tensor_dtype(np.dtype(np.int8))
        for info in self._graph.value_info:
            if info.name in self._born_int8:
                info.name = _int8(info.name)
                info.type.tensor_type.elem_type = int8_type


def _int8(tensor: str) -> str:
    return f"{tensor}/int8"


def _dequantized(tensor: str) -> str:
    return f"{tensor}/dequantized"


def _float_types(graph: Any) -> dict[str, npt.DTypeLike]:
    """The float type of each tensor: casts change it, all else takes it from its inputs."""
    import onnx

    as_numpy = onnx.helper.tensor_dtype_to_np_dtype
    types: dict[str, Any] = {i.name: as_numpy(i.data_type) for i in graph.initializer}
    types |= {i.name: as_numpy(i.type.tensor_type.elem_type) for i in graph.input}
    for node in graph.node:
        if node.op_type == "Cast":
            kind = as_numpy(next(a.i for a in node.attribute if a.name == "to"))
        elif node.op_type in ("Equal", "Shape", "ArgMax"):
            kind = np.dtype(np.int64 if node.op_type != "Equal" else np.bool_)
        else:
            kind = types[node.input[1 if node.op_type == "Where" else 0]]
        types |= dict.fromkeys(node.output, kind)
    return types
