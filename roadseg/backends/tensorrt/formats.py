"""Which memory formats the plugins offer to TensorRT, and which kernel serves each.

TensorRT asks for the formats of one plugin at a time and inserts a reformat layer wherever two
neighbours disagree. The values of a pooling and of its unpooling meet convolutions, which choose
for themselves; the index map runs from the one straight to the other. So each layout of values
comes with exactly one layout of the index map: a pooling and an unpooling that work in the same
layout of values cannot disagree about the map between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from roadseg.engine.runtime import parse_version
from roadseg.kernels.kernels import Layout, Variant

Op = Literal["pool", "unpool"]

ROLES: dict[str, tuple[Literal["values", "index"], ...]] = {
    "pool": ("values", "values", "index"),
    "unpool": ("values", "index", "values"),
}
"""What the inputs and outputs of each op carry, in TensorRT's order: inputs first."""

_DATA_TYPES = {"fp32": "FLOAT", "fp16": "HALF", "int8": "INT8"}
"""Our names of data types to those of `DataType`; layouts and `TensorFormat` share their names."""

# INT8 tensors of plugins may be HWC16 from TensorRT 10.6 on.
_INT8_HWC16_SINCE = (10, 6)


@dataclass(frozen=True, slots=True)
class Combination:
    """One way to lay out the tensors of a plugin.

    Attributes:
        dtype: of the values: `fp32`, `fp16`, `int8`; the index map is always INT8.
        layout: of the values, on both sides of the plugin.
        index_layout: of the index map.
    """

    dtype: str
    layout: Layout
    index_layout: Layout


def combinations(version: tuple[int, ...]) -> tuple[Combination, ...]:
    """What the plugins offer to this TensorRT, the same for pooling and unpooling.

    The packed layouts are those in which TensorRT's own convolutions for tensor cores work.

    Args:
        version: of TensorRT: (10, 3, 0).
    """
    hwc16 = version >= _INT8_HWC16_SINCE
    offered = [
        Combination("fp32", Layout.LINEAR, Layout.LINEAR),
        Combination("fp16", Layout.LINEAR, Layout.LINEAR),
        # The values are channels-last; so is their map, unless this TensorRT has no such INT8.
        Combination("fp16", Layout.HWC8, Layout.HWC16 if hwc16 else Layout.CHW32),
        Combination("int8", Layout.LINEAR, Layout.LINEAR),
        Combination("int8", Layout.CHW32, Layout.CHW32),
    ]
    if hwc16:
        offered.append(Combination("int8", Layout.HWC16, Layout.HWC16))
    return tuple(offered)


def supports(trt: Any, op: Op, formats: Sequence[tuple[Any, Any]]) -> bool:
    """Whether some combination begins like this.

    Args:
        trt: the TensorRT module.
        op: which plugin asks.
        formats: `DataType` and `TensorFormat` of the first tensors, inputs before outputs.
    """
    return any(
        all(_expected(trt, op, i, combination) == pair for i, pair in enumerate(formats))
        for combination in combinations(parse_version(trt.__version__))
    )


def variant_of(trt: Any, op: Op, formats: Sequence[tuple[Any, Any]]) -> Variant:
    """The kernel for tensors like these.

    Args:
        trt: the TensorRT module.
        op: which plugin asks.
        formats: `DataType` and `TensorFormat` of all its tensors, inputs before outputs.

    Raises:
        ValueError: they were never offered; TensorRT chose something else.
    """
    for combination in combinations(parse_version(trt.__version__)):
        if all(_expected(trt, op, i, combination) == pair for i, pair in enumerate(formats)):
            return Variant(op, combination.dtype, combination.layout, combination.index_layout)
    got = ", ".join(f"{data_type.name} {layout.name}" for data_type, layout in formats)
    raise ValueError(f"no kernel for the formats {got}")


def _expected(trt: Any, op: Op, position: int, combination: Combination) -> tuple[Any, Any]:
    """Data type and format of one tensor in a combination, as TensorRT names them."""
    if ROLES[op][position] == "index":
        return trt.DataType.INT8, getattr(trt.TensorFormat, combination.index_layout.name)
    data_type = getattr(trt.DataType, _DATA_TYPES[combination.dtype])
    return data_type, getattr(trt.TensorFormat, combination.layout.name)
