"""Formats, types and shapes: what the plugins offer to each TensorRT."""

from __future__ import annotations

from typing import Any

import pytest

from roadseg.backends.tensorrt.formats import variant_of
from roadseg.backends.tensorrt.plugin import last_plugin_error
from roadseg.kernels.kernels import variants
from tests.support.tensorrt import plugins as standin
from tests.support.tensorrt.plugging import (
    INPUTS,
    SINCE_10_3,
    SINCE_10_6,
    VERSIONS,
    a_tensorrt,
    create,
)

pytestmark = pytest.mark.usefixtures("as_typed")


def expected_formats(trt: Any, name: str, offered: dict[tuple[str, str], str]) -> set[Any]:
    formats = set()
    for (data_type, layout), index_layout in offered.items():
        values = (trt.DataType[data_type], trt.TensorFormat[layout])
        index = (trt.DataType.INT8, trt.TensorFormat[index_layout])
        pool = name == "MaxPoolIndex"
        formats.add((values, values, index) if pool else (values, index, values))
    return formats


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("version", VERSIONS)
def test_formats_offered(version: str, name: str) -> None:
    trt = a_tensorrt(version)
    offered = SINCE_10_3 if version.startswith(("10.3", "10.5")) else SINCE_10_6
    accepted = standin.negotiate(trt, create(trt, name), INPUTS[name])
    assert accepted == expected_formats(trt, name, offered)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_pair_cannot_disagree_about_the_index_map(version: str) -> None:
    trt = a_tensorrt(version)
    pool = standin.negotiate(trt, create(trt, "MaxPoolIndex"), 1)
    unpool = standin.negotiate(trt, create(trt, "MaxUnpoolIndex"), 2)
    index_of_pool = {values: index for values, _, index in pool}
    index_of_unpool = {values: index for values, index, _ in unpool}
    # One index format for each format of the values, and the same one on both sides.
    assert len(index_of_pool) == len(pool)
    assert len(index_of_unpool) == len(unpool)
    assert index_of_pool == index_of_unpool


def test_every_format_has_its_kernel() -> None:
    offered = set()
    for version in VERSIONS:
        trt = a_tensorrt(version)
        for name, inputs in INPUTS.items():
            plugin = create(trt, name)
            for formats in standin.negotiate(trt, plugin, inputs):
                offered.add(variant_of(trt, plugin.op, formats))
    assert offered == set(variants())


@pytest.mark.parametrize("values", ["FLOAT", "HALF", "INT8"])
def test_values_keep_their_type_and_the_index_map_is_int8(values: str) -> None:
    trt = a_tensorrt()
    value_type, int8 = trt.DataType[values], trt.DataType.INT8
    pool, unpool = (create(trt, name) for name in INPUTS)
    assert pool.get_output_data_types([value_type]) == [value_type, int8]
    assert unpool.get_output_data_types([value_type, int8]) == [value_type]
    assert (pool.num_outputs, unpool.num_outputs) == (2, 1)


@pytest.mark.parametrize("hw", [(1, 1), (2, 2), (5, 8), (45, 60), (23, 31)])
def test_shapes_there_and_back(hw: tuple[int, int]) -> None:
    trt = a_tensorrt()
    shape = (3, 64, *hw)
    small = (3, 64, (hw[0] + 1) // 2, (hw[1] + 1) // 2)
    pool = create(trt, "MaxPoolIndex")
    assert standin.output_shapes(trt, pool, [shape]) == [small, small]
    unpool = create(trt, "MaxUnpoolIndex", (hw[0] % 2, hw[1] % 2))
    assert standin.output_shapes(trt, unpool, [small, small]) == [shape]


def test_other_ranks_are_refused() -> None:
    trt = a_tensorrt()
    pool = create(trt, "MaxPoolIndex")
    with pytest.raises(ValueError, match=r"^expected \(N, C, H, W\), got 3 dimensions$"):
        standin.output_shapes(trt, pool, [(64, 8, 8)])
    assert last_plugin_error() == (
        "MaxPoolIndex.get_output_shapes: expected (N, C, H, W), got 3 dimensions"
    )
    assert last_plugin_error() is None


def test_the_first_of_several_errors_is_kept() -> None:
    trt = a_tensorrt()
    pool = create(trt, "MaxPoolIndex")
    for rank in (3, 5):
        with pytest.raises(ValueError, match="^expected"):
            standin.output_shapes(trt, pool, [(1,) * rank])
    assert last_plugin_error() == (
        "MaxPoolIndex.get_output_shapes: expected (N, C, H, W), got 3 dimensions"
    )
