"""Where INT8 quantisers belong around pooling with indices and unpooling.

The index of a maximum is found by comparing values with `Equal`: both sides must be the same
numbers. A quantiser on only one side makes nearly every comparison false, and one on the index
itself moves it off 0..3. So the calibrator is told to leave the index arithmetic alone
(`index_operations`), and what it placed around it is then moved (`place_quantizers`):

- before a pool, one quantiser for the map that the slices, the pool and a skip connection share.
  The comparison then sees the same INT8 values on both sides, and memory traffic is a quarter.
  Values that rounding made equal are ties: the first in the window wins, as in PyTorch;
- in an unpool, onto the four planes rather than behind the interleaved map, so that what is
  concatenated and interleaved is INT8. Exact, since zero is on the grid;
- at the input, a scale of one: pixels are integers already.
"""

from __future__ import annotations

from typing import Any

__all__ = ["index_operations", "place_quantizers"]


def index_operations(model: Any) -> list[str]:
    """Names of the nodes of an `openvino.Model` that work on indices, not on features."""
    names = []
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if (
            kind in ("Equal", "Select")
            or (kind in ("Slice", "StridedSlice") and "Equal" in _consumer_kinds(node))
            or (kind == "Concat" and _source(node, 0).get_type_name() == "Select")
            or (kind == "DepthToSpace" and _planes(node))
        ):
            names.append(node.get_friendly_name())
    return names


def place_quantizers(model: Any, *, shared_pools: bool = True) -> None:
    """Move the quantisers of a calibrated `openvino.Model`, in place, as described above.

    Args:
        model: what NNCF returned.
        shared_pools: quantise before pools. Without, indices are found on FP32 features.
    """
    for node in model.get_ordered_ops():
        kind = node.get_type_name()
        if kind == "MaxPool" and "Equal" in _consumer_kinds(node):
            if shared_pools:
                _quantize_before_pool(node)
        elif kind == "DepthToSpace" and _planes(node):
            _quantize_planes(node)
        elif kind == "Parameter":
            _quantize_input(node)
    model.validate_nodes_and_infer_types()


def _source(node: Any, port: int) -> Any:
    return node.input_value(port).get_node()


def _consumer_kinds(node: Any) -> set[str]:
    return {target.get_node().get_type_name() for target in node.output(0).get_target_inputs()}


def _planes(node: Any) -> list[Any]:
    """The four `Select` nodes that an unpool interleaves; none for another DepthToSpace."""
    concat = _source(node, 0)
    if concat.get_type_name() != "Concat" or concat.get_input_size() != 4:
        return []
    selects = [_source(concat, port) for port in range(4)]
    return selects if all(s.get_type_name() == "Select" for s in selects) else []


def _quantizers_of(output: Any) -> list[Any]:
    return [
        target.get_node()
        for target in output.get_target_inputs()
        if target.get_node().get_type_name() == "FakeQuantize"
    ]


def _copy(quantizer: Any, output: Any, name: str) -> Any:
    """A quantiser with the same range behind another output."""
    from openvino import opset13 as ops

    ranges = [quantizer.input_value(port) for port in range(1, 5)]
    levels = quantizer.get_attributes()["levels"]
    copied = ops.fake_quantize(output, *ranges, levels=levels)
    copied.set_friendly_name(name)
    return copied


def _redirect(old: Any, new: Any) -> None:
    for target in old.get_target_inputs():
        target.replace_source_output(new)


def _quantize_before_pool(pool: Any) -> None:
    features = pool.input_value(0)
    before, after = _quantizers_of(features), _quantizers_of(pool.output(0))
    if not before and not after:
        return  # what follows runs in float, and so may the indices
    targets = [
        target
        for target in features.get_target_inputs()
        if target.get_node().get_type_name() in ("MaxPool", "Slice", "StridedSlice")
    ]
    shared = _copy((before + after)[0], features, f"{pool.get_friendly_name()}/quantize")
    for target in targets:
        target.replace_source_output(shared.output(0))
    for quantizer in before:
        _redirect(quantizer.output(0), shared.output(0))
    # The maximum of quantised values is one of them: it needs no quantiser of its own.
    for quantizer in after:
        _redirect(quantizer.output(0), pool.output(0))


def _quantize_planes(interleave: Any) -> None:
    behind = _quantizers_of(interleave.output(0))
    if not behind:
        return
    concat = _source(interleave, 0)
    for port in range(4):
        name = f"{interleave.get_friendly_name()}/quantize{port}"
        plane = _copy(behind[0], concat.input_value(port), name)
        concat.input(port).replace_source_output(plane.output(0))
    for quantizer in behind:
        _redirect(quantizer.output(0), interleave.output(0))


def _quantize_input(parameter: Any) -> None:
    import numpy as np
    from openvino import opset13 as ops

    output = parameter.output(0)
    while True:
        quantizers = _quantizers_of(output)
        if quantizers:
            break
        steps = [target.get_node() for target in output.get_target_inputs()]
        if len(steps) != 1 or steps[0].get_type_name() not in ("Convert", "Transpose"):
            return
        output = steps[0].output(0)
    low, high = (ops.constant(np.float32(value)).output(0) for value in (0, 255))
    exact = ops.fake_quantize(output, low, high, low, high, levels=256)
    exact.set_friendly_name("quantize_frame")
    for quantizer in quantizers:
        _redirect(quantizer.output(0), exact.output(0))
