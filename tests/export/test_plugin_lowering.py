"""The plugin lowering: op by op, and run against PyTorch with its two operations in NumPy.

Tolerances: the operations themselves exactly. Whole networks in FP32: every label, and scores
within 1e-5 of the largest score. Sums are added up in another order than PyTorch's; no pooling
window of these frames is so close to a tie that this moves an index, and where values are equal
exactly the first wins in both.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from roadseg.core.errors import UsageError
from roadseg.export.lowering import PluginLowering, get_lowering
from roadseg.export.onnx import build_onnx
from roadseg.models import build_model
from roadseg.testing.onnx_reference import pool_with_index, reference_evaluator, unpool_with_index

Array = npt.NDArray[Any]
Frames = Callable[..., Array]
Runner = Callable[[Any, Array], Array]

SCORE_TOLERANCE = 1e-5
SIZES = [(4, 6), (5, 7), (6, 5), (2, 2), (1, 1), (1, 8), (9, 2), (45, 60)]


def attributes(node: Any) -> dict[str, Any]:
    return {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}


def plugin_nodes(model: Any) -> list[Any]:
    return [node for node in model.graph.node if node.domain]


def run_reference(model: Any, batch: Array) -> Array:
    (result,) = reference_evaluator(model).run(None, {"frame_bgr": batch})
    return np.asarray(result)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_operation_in_order(tiny: nn.Module, precision: Any) -> None:
    model = build_onnx(tiny, "tiny", size_hw=(45, 62), lowering="plugin", precision=precision)
    opset = 17 if precision == "fp32" else 19
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset), ("roadseg", 1)]
    scale = ["Mul"] if precision == "fp16" else []
    assert [node.op_type for node in model.graph.node] == [
        *["Cast", "Transpose", *scale, "Conv", "Relu", "MaxPoolIndex", "Conv", "Relu"],
        *["MaxPoolIndex", "MaxUnpoolIndex", "Add", "Conv", "Relu", "MaxUnpoolIndex"],
        *["Conv", "Relu", "Conv", "ArgMax", "Cast", "Cast"],
    ]
    plugin = {"plugin_namespace": b"roadseg", "plugin_version": b"1"}
    assert [
        (n.op_type, n.domain, list(n.input), list(n.output), attributes(n))
        for n in plugin_nodes(model)
    ] == [
        ("MaxPoolIndex", "roadseg", ["first.2:0"], ["pool:0", "pool:1"], plugin),
        ("MaxPoolIndex", "roadseg", ["second.1:0"], ["pool_1:0", "pool_1:1"], plugin),
        (
            "MaxUnpoolIndex",
            "roadseg",
            ["pool_1:0", "pool_1:1"],
            ["unpool:0"],
            {**plugin, "crop_h": 1, "crop_w": 1},
        ),
        (
            "MaxUnpoolIndex",
            "roadseg",
            ["third.1:0", "pool:1"],
            ["unpool_1:0"],
            {**plugin, "crop_h": 1, "crop_w": 0},
        ),
    ]


@pytest.mark.parametrize(("precision", "kind"), [("fp32", np.float32), ("fp16", np.float16)])
def test_types_and_shapes(
    precision: Any, kind: npt.DTypeLike, tiny: nn.Module, frames: Frames
) -> None:
    model = build_onnx(
        tiny, "tiny", size_hw=(45, 62), batch=2, lowering="plugin", precision=precision
    )
    results = reference_evaluator(model).run(
        None, {"frame_bgr": frames((45, 62), 2)}, intermediate=True
    )
    results.pop("")  # the input that is left out
    seen = {name: (value.dtype, value.shape) for name, value in results.items()}
    expected: dict[str, tuple[npt.DTypeLike, tuple[int, ...]]] = {
        "frame_bgr": (np.uint8, (2, 45, 62, 3)),
        "to_nchw:0": (kind, (2, 3, 45, 62)),
        "first.2:0": (kind, (2, 8, 45, 62)),
        "pool:0": (kind, (2, 8, 23, 31)),
        "pool:1": (np.int8, (2, 8, 23, 31)),
        "pool_1:0": (kind, (2, 8, 12, 16)),
        "pool_1:1": (np.int8, (2, 8, 12, 16)),
        "unpool:0": (kind, (2, 8, 23, 31)),
        "unpool_1:0": (kind, (2, 8, 45, 62)),
        "classifier:0": (kind, (2, 11, 45, 62)),
        "argmax:0": (np.int64, (2, 45, 62)),
        "to_id:0": (kind, (2, 45, 62)),
        "labels": (np.uint8, (2, 45, 62)),
    }
    assert {name: seen[name] for name in expected} == expected
    for name, value in results.items():
        if value.dtype == np.int8:
            assert set(np.unique(value)) <= {0, 1, 2, 3}, name
    for info in model.graph.value_info:
        declared = onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)
        assert declared == seen[info.name][0]


def test_features_have_the_same_names_in_both_lowerings() -> None:
    names: list[set[str]] = []
    for lowering in ("native", "plugin"):
        graph = build_onnx(
            build_model("segnet-lite"), "segnet-lite", size_hw=(45, 61), lowering=lowering
        ).graph
        convolutions = [n for n in graph.node if n.op_type in ("Conv", "ConvTranspose", "Add")]
        names.append({name for n in convolutions for name in (*n.input, *n.output)})
        made = {name for n in graph.node for name in n.output}
        assert {f"{op}{k}:0" for op in ("pool", "unpool") for k in ("", "_1", "_2")} <= made
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("size_hw", "batch", "shape"),
    [
        (None, None, ["batch", "height", "width"]),
        ((360, 480), None, ["batch", 360, 480]),
        ((352, 480), 8, [8, 352, 480]),
    ],
)
def test_free_and_fixed_dimensions(
    size_hw: tuple[int, int] | None, batch: int | None, shape: list[str | int], tiny: nn.Module
) -> None:
    for lowering in ("native", "plugin"):
        model = build_onnx(tiny, "tiny", size_hw=size_hw, batch=batch, lowering=lowering)
        frame, labels = model.graph.input[0], model.graph.output[0]
        for port, expected in ((frame, [*shape, 3]), (labels, shape)):
            dims = port.type.tensor_type.shape.dim
            assert [d.dim_param or d.dim_value for d in dims] == expected
        facts = {entry.key: entry.value for entry in model.metadata_props}
        assert facts["batch"] == ("any" if batch is None else str(batch))
        assert facts["lowering"] == lowering


def test_the_portable_form_differs_in_attributes_only(tiny: nn.Module) -> None:
    plain = build_onnx(tiny, "tiny", lowering="plugin")
    portable = build_onnx(tiny, "tiny", lowering="plugin", portable=True)
    for node in plugin_nodes(portable):
        found = attributes(node)
        assert found.pop("aot") == 1
        assert found.pop("plugin_namespace") == b"roadseg_portable"
        assert found.pop("plugin_version") == b"1"
        assert set(found) <= {"crop_h", "crop_w"}
        del node.attribute[:]
    for node in plugin_nodes(plain):
        del node.attribute[:]
    assert plain == portable


def test_a_portable_native_graph_is_refused(tiny: nn.Module) -> None:
    with pytest.raises(UsageError) as caught:
        build_onnx(tiny, "tiny", portable=True)
    assert str(caught.value) == (
        'portable is for plugins, not the native lowering: use lowering="plugin"'
    )
    assert isinstance(get_lowering("plugin", portable=True), PluginLowering)


def check_against_torch(name: str, network: nn.Module, batch: Array, run_torch: Runner) -> None:
    size_hw = (batch.shape[1], batch.shape[2])
    expected = run_torch(network, batch)
    scores = run_reference(
        build_onnx(network, name, size_hw=size_hw, lowering="plugin", output="logits"), batch
    )
    assert scores.dtype == np.float32
    error = np.abs(scores - expected).max() / np.abs(expected).max()
    assert error <= SCORE_TOLERANCE
    np.testing.assert_array_equal(scores.argmax(axis=1), expected.argmax(axis=1))


@pytest.mark.parametrize(
    ("name", "size_hw", "count"),
    [
        ("segnet", (45, 35), 2),
        ("segnet-basic", (32, 64), 2),
        ("segnet-basic", (45, 35), 1),
        ("segnet-lite", (32, 64), 2),
        ("segnet-lite", (45, 35), 1),
    ],
)
def test_networks_agree_with_pytorch(
    name: str, size_hw: tuple[int, int], count: int, frames: Frames, run_torch: Runner
) -> None:
    torch.manual_seed(1)
    check_against_torch(name, build_model(name).eval(), frames(size_hw, count), run_torch)


@pytest.mark.parametrize("size_hw", [(1, 1), (33, 2), (17, 31)])
def test_extreme_sizes(
    size_hw: tuple[int, int], tiny: nn.Module, frames: Frames, run_torch: Runner
) -> None:
    check_against_torch("tiny", tiny, frames(size_hw, 2), run_torch)


def test_flat_frames_are_all_ties(tiny: nn.Module, run_torch: Runner) -> None:
    batch = np.full((2, 40, 48, 3), (0, 130, 255), np.uint8)
    batch[1] = 0
    check_against_torch("tiny", tiny, batch, run_torch)


def test_one_graph_takes_all_sizes_and_batches_and_gives_labels(
    tiny: nn.Module, frames: Frames, run_torch: Runner
) -> None:
    model = build_onnx(tiny, "tiny", lowering="plugin")
    for size_hw, count in [((32, 64), 1), ((64, 32), 3)]:
        batch = frames(size_hw, count)
        labels = run_reference(model, batch)
        assert labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, run_torch(tiny, batch).argmax(axis=1))


def test_the_native_graph_gives_the_same_scores(
    tiny: nn.Module, frames: Frames, run_onnx: Runner
) -> None:
    batch = frames((45, 61), 2)
    native, plugin = (
        build_onnx(tiny, "tiny", size_hw=(45, 61), lowering=lowering, output="logits")
        for lowering in ("native", "plugin")
    )
    np.testing.assert_allclose(
        run_reference(plugin, batch), run_onnx(native, batch), rtol=0, atol=1e-5
    )


def test_fp16_graphs_run_in_fp16(tiny: nn.Module, frames: Frames, run_torch: Runner) -> None:
    # FP16 has 11 bits: most scores are off by less than a thousandth of the largest, and those
    # around an index that moved, a percent of them here, by more.
    batch = frames((45, 62), 2)
    model = build_onnx(
        tiny, "tiny", size_hw=(45, 62), lowering="plugin", precision="fp16", output="logits"
    )
    expected = run_torch(tiny, batch)
    scores = run_reference(model, batch)
    assert scores.dtype == np.float32
    error = np.abs(scores - expected).max(axis=1) / np.abs(expected).max()
    assert np.median(error) <= 0.001
    assert (scores.argmax(axis=1) == expected.argmax(axis=1)).mean() >= 0.99


# --- The two operations alone -----------------------------------------------------------------


def features(kind: str, size_hw: tuple[int, int], dtype: npt.DTypeLike) -> Array:
    rng = np.random.default_rng(7)
    shape = (2, 3, *size_hw)
    values = {
        "ties": rng.integers(-1, 2, shape),
        "negative": -rng.integers(1, 128, shape),
        "lowest": np.full(shape, -128),
        "after relu": np.maximum(rng.integers(-90, 40, shape), 0),
        "any": rng.integers(-128, 128, shape),
    }
    return values[kind].astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int8])
@pytest.mark.parametrize("kind", ["ties", "negative", "lowest", "after relu", "any"])
@pytest.mark.parametrize("size_hw", SIZES)
def test_the_operations_equal_pytorch_exactly(
    size_hw: tuple[int, int], kind: str, dtype: npt.DTypeLike
) -> None:
    x = features(kind, size_hw, dtype)
    # PyTorch pools no INT8; its integers up to 128 are exact in FP32.
    wide = torch.from_numpy(x.astype(np.float32))
    values, offsets = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)(wide)
    pooled, index = pool_with_index(x)
    assert (pooled.dtype, index.dtype) == (x.dtype, np.int8)
    np.testing.assert_array_equal(pooled, values.numpy())
    rows, columns = offsets.numpy() // size_hw[1], offsets.numpy() % size_hw[1]
    np.testing.assert_array_equal(index, 2 * (rows % 2) + columns % 2)
    crop_hw = (size_hw[0] % 2, size_hw[1] % 2)
    full = unpool_with_index(pooled, index, crop_hw)
    expected = nn.MaxUnpool2d(2, 2)(values, offsets, output_size=list(wide.shape[-2:]))
    assert full.dtype == x.dtype
    np.testing.assert_array_equal(full, expected.numpy())


@pytest.mark.parametrize("size_hw", [(4, 6), (5, 7)])
def test_nans_are_pytorchs(size_hw: tuple[int, int]) -> None:
    x = features("any", size_hw, np.float32)
    x[np.random.default_rng(3).random(x.shape) < 0.4] = np.nan
    values, offsets = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)(torch.from_numpy(x))
    pooled, index = pool_with_index(x)
    np.testing.assert_array_equal(pooled, values.numpy())
    rows, columns = offsets.numpy() // size_hw[1], offsets.numpy() % size_hw[1]
    np.testing.assert_array_equal(index, 2 * (rows % 2) + columns % 2)


def test_quantised_values_pass_through_in_int8() -> None:
    """Q -> MaxPoolIndex -> MaxUnpoolIndex -> DQ with one scale, as INT8 engines have it."""
    helper, kinds = onnx.helper, onnx.TensorProto
    plugin = {"domain": "roadseg", "plugin_namespace": "roadseg", "plugin_version": "1"}
    crop = {"crop_h": 1, "crop_w": 0}
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        helper.make_node("MaxPoolIndex", ["q"], ["pooled", "index"], **plugin),
        helper.make_node("MaxUnpoolIndex", ["pooled", "index"], ["full"], **plugin, **crop),
        helper.make_node("DequantizeLinear", ["full", "scale", "zero"], ["y"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array(0.25, np.float16), "scale"),
        onnx.numpy_helper.from_array(np.array(0, np.int8), "zero"),
    ]
    ports = [helper.make_tensor_value_info(n, kinds.FLOAT16, [2, 3, 5, 8]) for n in "xy"]
    graph = helper.make_graph(nodes, "int8", ports[:1], ports[1:], constants)
    opsets = [helper.make_opsetid("", 19), helper.make_opsetid("roadseg", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    x = np.random.default_rng(0).normal(0, 12, (2, 3, 5, 8)).astype(np.float16)
    results = reference_evaluator(model).run(None, {"x": x}, intermediate=True)
    assert {results[name].dtype for name in ("q", "pooled", "index", "full")} == {np.dtype("int8")}
    # What is rounded first has more ties: the first of equal INT8 values wins.
    rounded = torch.from_numpy(np.clip(np.rint(x.astype(np.float32) / 0.25), -128, 127))
    values, offsets = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)(rounded)
    expected = nn.MaxUnpool2d(2, 2)(values, offsets, output_size=[5, 8]) * 0.25
    np.testing.assert_array_equal(results["y"], expected.numpy())


def test_an_index_map_of_another_kind_is_refused() -> None:
    x = np.zeros((1, 2, 3, 4), np.float32)
    with pytest.raises(ValueError) as caught:
        unpool_with_index(x, np.zeros((1, 2, 3, 4), np.int64), (0, 0))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "values and INT8 places must agree: got (1, 2, 3, 4) and int64 (1, 2, 3, 4)"
    )
