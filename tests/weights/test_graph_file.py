"""What a network's file says of itself, before a runtime reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from safetensors.numpy import save_file
from torch import nn

from roadseg.core.errors import ModelError
from roadseg.core.labels import CAMVID
from roadseg.core.weights_file import read_header
from roadseg.export.ir import finish_ir, from_onnx, save_ir
from roadseg.export.onnx import build_onnx, save_onnx
from roadseg.loading.classes import classes_of_file
from roadseg.weights import resolve_model
from roadseg.weights.graph_file import GraphFile, read_graph


def written(path: Path, graph: Any, precision: str = "fp32") -> Path:
    if path.suffix == ".onnx":
        save_onnx(graph, path)
    else:
        network = from_onnx(graph)
        finish_ir(network)
        save_ir(network, path, precision=precision)
    return path


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("batch", [None, 1, 4])
def test_the_size_is_the_graphs_own(
    tiny: nn.Module, tmp_path: Path, suffix: str, batch: int | None
) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=(45, 60), batch=batch)
    path = written(tmp_path / f"fixed{suffix}", graph)
    assert read_graph(path).size_hw == (45, 60)
    assert resolve_model(str(path), "openvino").size_hw == (45, 60)
    # Files of other tools have no metadata, and those of careless hands have false ones.
    del graph.metadata_props[:]
    assert read_graph(written(tmp_path / f"other{suffix}", graph)).size_hw == (45, 60)
    onnx.helper.set_model_props(graph, {"size_hw": "[32, 32]"})
    assert read_graph(written(tmp_path / f"false{suffix}", graph)).size_hw == (45, 60)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("batch", [None, 4])
def test_free_sizes(tiny: nn.Module, tmp_path: Path, suffix: str, batch: int | None) -> None:
    path = written(tmp_path / f"free{suffix}", build_onnx(tiny, "tiny", batch=batch))
    assert read_graph(path).size_hw is None
    assert read_graph(path).metadata["model"] == "tiny"


def test_one_free_side_is_no_size(tmp_path: Path) -> None:
    path = tmp_path / "net.xml"
    layer = '<layer type="Parameter"><data shape="{}"/></layer>'
    for shape, size_hw in [
        ("1,45,60,3", (45, 60)),
        ("?,45,60,3", (45, 60)),
        ("1..8,45,60,3", (45, 60)),
        ("1,?,60,3", None),
        ("1,32..64,60,3", None),
        ("1,3,45,60", None),
        ("1,45,60", None),
        ("", None),
    ]:
        path.write_text(f"<net>{layer.format(shape)}</net>")
        assert read_graph(path).size_hw == size_hw, shape


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_precision_without_a_sidecar(
    tiny: nn.Module, tmp_path: Path, suffix: str, precision: str
) -> None:
    graph = build_onnx(tiny, "tiny", precision=precision if suffix == ".onnx" else "fp32")
    path = written(tmp_path / f"net{suffix}", graph, precision)
    (tmp_path / f"net{suffix}.json").unlink(missing_ok=True)
    assert read_graph(path).precision == precision
    assert resolve_model(str(path), "openvino").precision == precision


def test_quantised_operations_say_int8(tiny: nn.Module, tmp_path: Path) -> None:
    graph = build_onnx(tiny, "tiny")  # fp32, it says
    graph.graph.node.add(op_type="QuantizeLinear")
    assert read_graph(written(tmp_path / "net.onnx", graph)).precision == "int8"
    unknown = build_onnx(tiny, "tiny")
    onnx.helper.set_model_props(unknown, {"precision": "fp4"})
    path = written(tmp_path / "unknown.onnx", unknown)
    assert read_graph(path).precision is None
    assert resolve_model(str(path), "openvino").precision == "fp32"


def test_damaged_files_say_nothing(tiny: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", build_onnx(tiny, "tiny", size_hw=(45, 60)))
    whole = path.read_bytes()
    for content in (b"", whole[:1], whole[: len(whole) // 2], b"\xff" * 100_000):
        path.write_bytes(content)
        assert read_graph(path) == GraphFile()
    (tmp_path / "net.xml").write_text("<net><layer>")
    assert read_graph(tmp_path / "net.xml") == GraphFile()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("classes", "[]"),
        ("classes", "5"),
        ("classes", "[1, 2]"),
        ("classes", "[null]"),
        ("classes", '"abc"'),
        ("classes", "[[]]"),
        ("classes", "[" * 100_000),
        ("palette_rgb", "5"),
        ("palette_rgb", "[[1, 2]]"),
        ("palette_rgb", '[["1", "2", "3"]]'),
        ("palette_rgb", "[[1, 2, 1e999]]"),
        ("palette_rgb", "[[1, 2, 300]]"),
    ],
)
def test_metadata_that_hands_wrote(tiny: nn.Module, tmp_path: Path, key: str, value: str) -> None:
    facts = {"classes": '["road", "sky"]', key: value}
    graph = build_onnx(tiny, "tiny")
    onnx.helper.set_model_props(graph, facts)
    path = written(tmp_path / "net.onnx", graph)
    for read in (classes_of_file, lambda path: resolve_model(str(path), "openvino")):
        with pytest.raises(ModelError, match="does not say which classes it knows") as caught:
            read(path)
        assert caught.value.fix == "write it again with 'roadseg export'"


def test_metadata_that_are_no_text(tiny: nn.Module, tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", build_onnx(tiny, "tiny"))
    path.write_bytes(path.read_bytes().replace(b"any multiple of 32", b"\xff" * 18))
    with pytest.raises(ModelError, match="write it again with 'roadseg export'"):
        read_graph(path)


@pytest.mark.parametrize(
    "entry",
    [
        "[]",
        "5",
        "[" * 100_000,
        json.dumps({"model": "segnet-lite", "classes": [1], "meta": {}}),
        json.dumps({"model": "segnet-lite", "classes": "ab", "meta": {}}),
        '{"model": "segnet-lite", "classes": ["a"], "palette_rgb": [[1, 2, 1e999]], "meta": {}}',
    ],
)
def test_a_header_of_weights_that_hands_wrote(tmp_path: Path, entry: str) -> None:
    path = tmp_path / "mine.safetensors"
    save_file({"x": np.zeros(1, np.float32)}, path, {"roadseg": entry})
    with pytest.raises(ModelError) as caught:
        read_header(path)
    assert str(caught.value) == (
        f"{path} is not a roadseg weights file: use one that 'roadseg train' wrote"
    )


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0" encoding="gbk"?><net/>',
        '<?xml version="1.0" encoding="foo"?><net/>',
        f'<net><layer type="Parameter"><data shape="1,{"9" * 5000},60,3"/></layer></net>',
    ],
)
def test_an_ir_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.xml").write_text(text, encoding="utf-8")
    graph = read_graph(tmp_path / "mine.xml")
    assert (graph.size_hw, graph.metadata) == (None, {})


def test_a_file_without_classes_knows_camvids(tmp_path: Path) -> None:
    assert GraphFile().classes(tmp_path) is CAMVID
