"""`roadseg calibrate`: a file that INT8 can be built from, and nothing where it is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from roadseg.cli import main
from roadseg.core.shipped import shipped_file
from roadseg.datasets.opening import open_dataset
from roadseg.export.network import load_network
from roadseg.export.onnx import build_onnx
from roadseg.export.qdq import insert_qdq
from roadseg.models import build_model, save_weights
from roadseg.weights.calibration import read_calibration
from roadseg.weights.manifest import sha256_of


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_weights(path, build_model("segnet-lite"), "segnet-lite")
    return path


def calibrate(weights: Path, data: Path, output: Path, *options: str) -> int:
    given = ["--model", str(weights), "--data", str(data), "--output", str(output)]
    return main(["calibrate", *given, "--size", "64x96", "--threads", "1", *options])


def test_labelled_frames_of_your_own(
    tiny_farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "farm.safetensors"
    classes = open_dataset(tiny_farm, "val").classes
    torch.manual_seed(0)
    save_weights(weights, build_model("segnet-lite", 3), "segnet-lite", classes=classes)
    path = tmp_path / "farm.json"
    assert calibrate(weights, tiny_farm, path, "--max-drop", "100") == 0
    lines = capsys.readouterr().out.splitlines()
    assert " frames of train at 64x96" in lines[0]
    assert lines[1].startswith("val (")
    gate = read_calibration(path).gate
    assert gate is not None
    assert gate.measured_on == "val"


def test_labelled_frames(
    weights: Path, tiny_camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "made"
    assert calibrate(weights, tiny_camvid, folder, "--max-drop", "100") == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    path = folder / f"segnet-lite-{sha256_of(weights)[:8]}.json"
    assert lines[0] == "calibrating segnet-lite on 2 frames of train.txt at 64x96"
    assert lines[1].startswith("val.txt (2 frames): mIoU ")
    assert lines[2].startswith(f"{path}: 25 scales; INT8 costs ")
    assert lines[2].endswith(" points of mIoU on val.txt (100 allowed)")
    assert len(lines) == 3
    assert err == ""
    first = path.read_bytes()
    assert calibrate(weights, tiny_camvid, path, "--max-drop", "100") == 0
    assert path.read_bytes() == first
    calibration = read_calibration(path)
    network = load_network(str(weights))
    graph = build_onnx(
        network.module, "segnet-lite", precision="fp16", weights_sha256=network.weights_sha256
    )
    quantized = insert_qdq(graph, calibration)
    assert "QuantizeLinear" in {node.op_type for node in quantized.graph.node}


def test_frames_without_labels(
    weights: Path,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # Ranking itself: tests/quantize/test_sensitivity.py.
    monkeypatch.setattr("roadseg.quantize.search.rank_layers", lambda *_, **__: ["classifier"])
    path = tmp_path / "a.json"
    assert calibrate(weights, tiny_camvid / "train", path, "--frames", "3", "--force") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "calibrating segnet-lite on 3 frames of train at 64x96"
    assert lines[1].startswith("train (3 frames): ")
    gate = read_calibration(path).gate
    assert gate is not None
    assert gate.drop_points is None
    assert gate.label_miou is not None
    last = lines[-1]
    assert last.startswith(f"{path}: 25 scales")
    assert last.endswith(
        f"; INT8 keeps {100 * gate.agreement:.2f}% of the labels of FP32 on train, mean IoU with "
        f"them {gate.label_miou:.3f} (98.5% and 0.91 are needed without labels)"
    )


def test_labels_that_change_are_refused_without_labels_to_judge_by(
    weights: Path,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("roadseg.quantize.search.rank_layers", lambda *_, **__: ["a", "b"])
    monkeypatch.setattr("roadseg.quantize.search.float_layer_counts", lambda _: [])
    monkeypatch.setattr("roadseg.quantize.accuracy.agreement", lambda *_: 0.99)
    path = tmp_path / "a.json"
    monkeypatch.setattr("roadseg.quantize.accuracy.label_miou", lambda *_: 0.90)
    assert calibrate(weights, tiny_camvid / "train", path) == 8
    assert not path.exists()
    assert capsys.readouterr().err.splitlines()[-1] == (
        "error: INT8 keeps 99.00% of the labels of FP32 on train, mean IoU with them 0.900 "
        "(98.5% and 0.91 are needed without labels): nothing was written: "
        "calibrate on more frames, or on labelled ones, which tell what it really costs, "
        "or use --force"
    )
    monkeypatch.setattr("roadseg.quantize.accuracy.label_miou", lambda *_: 0.92)
    assert calibrate(weights, tiny_camvid / "train", path) == 0
    monkeypatch.setattr("roadseg.quantize.accuracy.agreement", lambda *_: 0.984)
    assert calibrate(weights, tiny_camvid / "train", path) == 8


def test_what_ships_is_never_replaced(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = shipped_file("calibration/segnet-lite.json")
    before = shipped.read_bytes()
    assert calibrate(weights, tmp_path, shipped, "--force") == 2
    assert capsys.readouterr().err == (
        f"error: {shipped} comes with roadseg: give another name with --output, or a folder; "
        "in a checkout 'make weights' replaces what ships\n"
    )
    assert shipped.read_bytes() == before


def test_what_costs_too_much_is_not_written(
    weights: Path,
    tiny_camvid: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ranking = ["classifier", "decoder2.0"]
    monkeypatch.setattr("roadseg.quantize.search.rank_layers", lambda *_, **__: ranking)
    path = tmp_path / "a.json"
    path.write_text("what was there")
    # Whatever is left float, 0.60 in FP32 becomes 0.55.
    mious = itertools.cycle([0.6, 0.55])
    monkeypatch.setattr("roadseg.quantize.accuracy.miou", lambda *_: next(mious))
    assert calibrate(weights, tiny_camvid, path) == 8
    err = capsys.readouterr().err.strip().splitlines()[-1]
    assert err.startswith("error: INT8 costs 5.00 points of mIoU on val.txt, allowed are 0.5: ")
    assert err.endswith(
        "nothing was written: calibrate on more frames, allow more with --max-drop, or use --force"
    )
    assert path.read_text(encoding="utf-8") == "what was there"
    assert calibrate(weights, tiny_camvid, path, "--force") == 0
    calibration = read_calibration(path)
    line = capsys.readouterr().out.splitlines()[-1]
    # Nothing that was left float helped, so nothing is.
    assert calibration.float_layers == ()
    assert line == f"{path}: 25 scales; INT8 costs 5.00 points of mIoU on val.txt (0.5 allowed)"


BAD = [
    (["--size", "360"], 2, "size '360' is not HxW (height x width of the network's input): "
     "use for example --size 352x480"),
    (["--size", "0x480"], 2, "network input 0x480: its sides must be 32 to 4096: "
     "use for example --size 352x480"),
    (["--size", "64x9999"], 2, "network input 64x9999: its sides must be 32 to 4096: "
     "use for example --size 352x480"),
    (["--max-drop", "-100"], 2, "a drop of -100 points: use for example --max-drop 0.5"),
    (["--method", "entropy"], 2, "unknown method 'entropy': use --method absmax|percentile|mse"),
]  # fmt: skip


@pytest.mark.parametrize(("options", "code", "message"), BAD, ids=range(len(BAD)))
def test_bad_options(
    options: list[str],
    code: int,
    message: str,
    weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert calibrate(weights, tmp_path, tmp_path / "a.json", *options) == code
    assert capsys.readouterr().err == f"error: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_unwritable_output_is_refused_before_any_work(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert calibrate(weights, tmp_path / "none", file / "a.json") == 4
    path = file / "a.json"
    assert capsys.readouterr().err == (
        f"error: cannot write {path} ({file} is no folder): give another name or free the space it "
        "needs\n"
    )


def test_bad_data(
    weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def load_network(model: str) -> None:
        raise AssertionError(f"{model} was loaded before the data were looked at")

    monkeypatch.setattr("roadseg.export.network.load_network", load_network)
    path = tmp_path / "a.json"
    missing = tmp_path / "none.mp4"
    assert calibrate(weights, missing, path) == 7
    assert capsys.readouterr().err == (
        f"error: nothing at {missing} to calibrate on: "
        "give --data a folder of images or a video file\n"
    )
    empty = tmp_path / "empty"
    empty.mkdir()
    assert calibrate(weights, empty, path) == 7
    assert capsys.readouterr().err == (
        f"error: no images in {empty} to calibrate on: give --data a folder of .png or .jpg files, "
        "one in the CamVid layout (train.txt), or a video file\n"
    )
    cv2.imwrite(str(empty / "a.png"), np.zeros((48, 64, 3), np.uint8))
    (empty / "b.png").write_bytes(b"")
    assert calibrate(weights, empty, path) == 7
    assert capsys.readouterr().err == (
        f"error: cannot decode {empty / 'b.png'}: "
        "the file is empty, damaged or not a picture: copy it again\n"
    )
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"")
    assert calibrate(weights, clip, path) == 3
    assert capsys.readouterr().err == (
        f"error: {clip} is empty (0 bytes): copy or record it again\n"
    )
    assert not path.exists()
