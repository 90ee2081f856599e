"""`roadseg export`: output, exit codes, messages."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from roadseg.cli import main
from roadseg.export.network import load_network
from roadseg.export.onnx import build_onnx
from roadseg.loading.choice import choose
from roadseg.models import build_model, save_weights
from roadseg.weights import model_names
from roadseg.weights.calibration import Calibration, Gate, write_calibration
from roadseg.weights.manifest import sha256_of


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
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
    assert (
        json.loads((tmp_path / "lite.xml.json").read_text(encoding="utf-8"))["precision"] == "fp16"
    )
    backend = choose(str(path)).open((32, 64))
    assert backend.infer(np.zeros((1, 32, 64, 3), np.uint8)).shape == (1, 32, 64)
    assert backend.info.precision == "fp16"


@pytest.mark.parametrize("name", ["fixed.onnx", "fixed.xml"])
def test_a_file_of_one_odd_size_and_batch_runs_as_it_is(
    name: str,
    weights: Path,
    tmp_path: Path,
    tiny_camvid: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / name
    assert export(weights, path, "--size", "45x61", "--batch", "4") == 0
    pictures = str(tiny_camvid / "val")
    report = tmp_path / "report.json"
    for command in (
        ["run", "--source", pictures, "--output", str(tmp_path / "out"), "--stats-json"],
        ["bench", "--source", pictures, "--frames", "2", "--json"],
        ["eval", "--data", str(tiny_camvid), "--json"],
    ):
        command += [str(report), "--model", str(path), "--backend", "openvino"]
        for size in ([], ["--size", "45x61"]):
            assert main([*command, *size]) == 0, capsys.readouterr().err
            assert json.loads(report.read_text(encoding="utf-8"))["size_hw"] == [45, 61]
        capsys.readouterr()
        assert main([*command, "--size", "64x64"]) == 2
        assert (
            capsys.readouterr().err == f"error: {path} takes 45x61 frames only: use --size 45x61\n"
        )


def facts_of(path: Path) -> dict[str, str]:
    return {entry.key: entry.value for entry in onnx.load(path).metadata_props}


def test_plugin_lowering_in_fp16_for_a_fixed_batch(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "lite.onnx"
    options = ["--lowering", "plugin", "--precision", "fp16", "--size", "360x480", "--batch", "4"]
    assert export(weights, path, *options) == 0
    out, err = capsys.readouterr()
    assert out == f"{path}: segnet-lite, fp16, plugin lowering, frames of 360x480, 4 at a time\n"
    assert err == ""
    facts = facts_of(path)
    assert (facts["lowering"], facts["precision"], facts["batch"]) == ("plugin", "fp16", "4")
    graph = onnx.load(path).graph
    assert [d.dim_value for d in graph.output[0].type.tensor_type.shape.dim] == [4, 360, 480]
    plugins = [node for node in graph.node if node.domain == "roadseg"]
    assert [node.op_type for node in plugins] == ["MaxPoolIndex"] * 3 + ["MaxUnpoolIndex"] * 3
    assert "aot" not in {a.name for node in plugins for a in node.attribute}


def test_portable_plugins(weights: Path, tmp_path: Path) -> None:
    path = tmp_path / "lite.onnx"
    assert export(weights, path, "--lowering", "plugin", "--portable") == 0
    plugins = [node for node in onnx.load(path).graph.node if node.domain == "roadseg"]
    assert all({"aot", "plugin_namespace"} <= {a.name for a in node.attribute} for node in plugins)


def write_scales(path: Path, weights: Path, gate: Gate | None) -> None:
    network = load_network(str(weights))
    graph = build_onnx(network.module, "segnet-lite").graph
    scales = {name: 0.05 for node in graph.node for name in node.output}
    calibration = Calibration(
        model="segnet-lite",
        weights_sha256=network.weights_sha256,
        size_hw=(352, 480),
        method="absmax",
        frames=(),
        scales=scales,
        gate=gate,
    )
    write_calibration(calibration, path)


MEASURED = Gate(
    measured_on="val.txt",
    images=101,
    fp32_miou=0.7,
    int8_miou=0.698,
    drop_points=0.2,
    agreement=0.98765,
    measured_with="a test",
)


@pytest.mark.parametrize(
    ("lowering", "gate", "cost"),
    [
        ("plugin", MEASURED, "INT8 costs 0.20 points of mIoU on val.txt"),
        (
            "native",
            replace(MEASURED, drop_points=None),
            "INT8 keeps 98.77% of the labels of FP32 on val.txt",
        ),
        ("native", None, "what INT8 costs was not measured"),
    ],
)
def test_int8_from_a_calibration(
    lowering: str,
    gate: Gate | None,
    cost: str,
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "lite.onnx"
    scales = tmp_path / "calibration" / "segnet-lite.json"
    scales.parent.mkdir()
    if gate is None:
        scales = tmp_path / "mine.json"
    write_scales(scales, weights, gate)
    chosen = ["--calibration", "mine.json"] if gate is None else []
    assert export(weights, path, "--precision", "int8", "--lowering", lowering, *chosen) == 0
    out, err = capsys.readouterr()
    assert out == (
        f"{path}: segnet-lite, int8, {lowering} lowering, frames of any multiple of 32\n{cost}\n"
    )
    assert err == ""
    assert facts_of(path)["precision"] == "int8"
    kinds = {node.op_type for node in onnx.load(path).graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert ("MaxPoolIndex" in kinds) == (lowering == "plugin")
    if lowering == "native":
        assert choose(str(path), "openvino").open((32, 64)).info.precision == "int8"


@pytest.mark.parametrize(
    ("output", "options", "code", "message"),
    [
        ("x.trt", [], 2, "cannot export to x.trt: use --output FILE.onnx or FILE.xml"),
        (
            "x.onnx",
            ["--precision", "fp8"],
            2,
            "precision 'fp8' is not for .onnx files: use --precision fp32|fp16|int8",
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
            "export writes float .xml files: for INT8 use 'roadseg quantize'",
        ),
        (
            "x.xml",
            ["--lowering", "plugin"],
            2,
            "OpenVINO has no plugin lowering: use --lowering native for .xml files",
        ),
        (
            "x.onnx",
            ["--calibration", "mine.json"],
            2,
            "--calibration is not for fp32: use it with --precision int8",
        ),
        (
            "x.onnx",
            ["--precision", "int8", "--calibration", "nowhere.json"],
            5,
            "no calibration at nowhere.json: run 'roadseg calibrate --model MINE --data DIR|VIDEO'",
        ),
        (
            "x.onnx",
            ["--batch", "0"],
            2,
            "a batch has 1 frame or more, got 0: use for example --batch 4",
        ),
        (
            "x.onnx",
            ["--portable"],
            2,
            "--portable is for plugins, not the native lowering: use --lowering plugin",
        ),
        ("x.onnx", ["--result", "mask"], 2, "unknown result 'mask': use --result labels|logits"),
        *(
            (
                "x.onnx",
                ["--size", size],
                2,
                f"network input {size}: its sides must be 32 to 4096: "
                "use for example --size 352x480",
            )
            for size in ("0x32", "31x32", "352x4097", "99999x99999")
        ),
        (
            "x.onnx",
            ["--size", "32"],
            2,
            "size '32' is not HxW (height x width of the network's input): "
            "use for example --size 352x480",
        ),
        (
            "x.onnx",
            ["--lowering", "magic"],
            2,
            "unknown lowering 'magic': use --lowering native|plugin",
        ),
        (
            "absent/x.onnx",
            [],
            4,
            "cannot write absent/x.onnx: there is no folder absent: create it",
        ),
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
    message = message.replace("MINE", str(weights))
    assert capsys.readouterr() == ("", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_models_that_cannot_be_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    absent = tmp_path / "absent.safetensors"
    assert export(absent, tmp_path / "x.onnx") == 5
    error = f"error: no model file at {absent}: check the path given with --model\n"
    assert capsys.readouterr().err == error
    graph = tmp_path / "graph.onnx"
    assert export(graph, tmp_path / "x.onnx") == 2
    error = (
        f"error: {graph} is an ONNX file, no weights: use --model {'|'.join(model_names())}, or a "
        ".safetensors file of 'roadseg train'\n"
    )
    assert capsys.readouterr().err == error
