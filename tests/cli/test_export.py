"""`roadseg export`: output, exit codes, messages."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from roadseg.backends.select import create_backend
from roadseg.cli import main
from roadseg.models import build_model, save_weights
from roadseg.weights.manifest import sha256_of


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.pt"
    save_weights(path, build_model("segnet-lite"), "segnet-lite")
    return path


def export(weights: Path, output: Path, *options: str) -> int:
    return main(["export", "--model", str(weights), "--output", str(output), *options])


def test_onnx_for_any_size(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lite.onnx"
    assert export(weights, path) == 0
    out, err = capsys.readouterr()
    assert out == f"{path}: segnet-lite, fp32, native lowering, frames of any multiple of 32\n"
    assert err == ""
    facts = {entry.key: entry.value for entry in onnx.load(path).metadata_props}
    assert facts["weights_sha256"] == sha256_of(weights)
    assert facts["model"] == "segnet-lite"


def test_onnx_for_one_size_with_logits(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lite.onnx"
    assert export(weights, path, "--size", "45x60", "--result", "logits") == 0
    out = capsys.readouterr().out
    assert out == f"{path}: segnet-lite, fp32, native lowering, frames of 45x60\n"
    graph = onnx.load(path).graph
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [0, 11, 45, 60]


def test_openvino_files_run(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lite.xml"
    assert export(weights, path, "--precision", "fp16") == 0
    out = capsys.readouterr().out
    assert out == f"{path}: segnet-lite, fp16, native lowering, frames of any multiple of 32\n"
    assert json.loads((tmp_path / "lite.xml.json").read_text())["precision"] == "fp16"
    backend = create_backend(str(path), "auto", (32, 64))
    assert backend.infer(np.zeros((1, 32, 64, 3), np.uint8)).shape == (1, 32, 64)
    assert backend.info.precision == "fp16"


@pytest.mark.parametrize(
    ("output", "options", "code", "message"),
    [
        ("x.trt", [], 2, "cannot export to x.trt: use --output FILE.onnx or FILE.xml"),
        (
            "x.onnx",
            ["--precision", "fp16"],
            2,
            "precision 'fp16' is not for .onnx files: use --precision fp32",
        ),
        (
            "x.xml",
            ["--precision", "fp8"],
            2,
            "precision 'fp8' is not for .xml files: use --precision fp32|fp16",
        ),
        (
            "x.xml",
            ["--precision", "int8"],
            2,
            "export writes float networks: for INT8 use 'roadseg quantize'",
        ),
        ("x.onnx", ["--result", "mask"], 2, "unknown result 'mask': use --result labels|logits"),
        ("x.onnx", ["--size", "0x32"], 2, "size '0x32' is not HxW: use for example --size 352x480"),
        ("x.onnx", ["--size", "32"], 2, "size '32' is not HxW: use for example --size 352x480"),
        ("x.onnx", ["--lowering", "magic"], 2, "unknown lowering 'magic': use --lowering native"),
        ("absent/x.onnx", [], 4, "cannot write absent/x.onnx: there is no folder absent"),
    ],
)
def test_refusals(
    output: str,
    options: list[str],
    code: int,
    message: str,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert export(weights, Path(output), *options) == code
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_models_that_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = tmp_path / "absent.pt"
    assert export(absent, tmp_path / "x.onnx") == 5
    error = f"error: no model file at {absent}: check the path given with --model\n"
    assert capsys.readouterr().err == error
    graph = tmp_path / "graph.onnx"
    assert export(graph, tmp_path / "x.onnx") == 2
    error = (
        f"error: the torch backend does not take .onnx files ({graph}): use --backend openvino\n"
    )
    assert capsys.readouterr().err == error
