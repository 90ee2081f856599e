"""`roadseg quantize`: a network that is really INT8, and nothing on disk when it is refused."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from roadseg.cli import main
from roadseg.datasets.opening import open_dataset
from roadseg.loading.choice import choose
from roadseg.loading.classes import classes_of_file
from roadseg.models import build_model, save_weights


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    save_weights(path, build_model("segnet-lite"), "segnet-lite")
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small frames in the CamVid layout, and a calibration list."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(2):
        frame = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        labels = rng.integers(0, 12, (48, 64), dtype=np.uint8)
        pairs.append(f"{number}.png {number}L.png")
        cv2.imwrite(str(root / f"{number}.png"), frame)
        cv2.imwrite(str(root / f"{number}L.png"), labels)
    (root / "val.txt").write_text("\n".join(pairs) + "\n")
    (root / "frames.txt").write_text("0.png\n1.png\n")
    return root


def quantize(weights: Path, data: Path, output: Path, *options: str) -> int:
    given = ["--model", str(weights), "--data", str(data), "--output", str(output)]
    return main(["quantize", *given, "--frame-list", str(data / "frames.txt"), *options])


def test_it_writes_a_network_that_runs(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Noise for labels: random weights score about 0.03, and INT8 hardly moves that.
    assert quantize(weights, data, tmp_path, "--max-drop", "100", "--threads", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    path = tmp_path / "mine-int8.xml"
    assert lines[0] == "calibrating segnet-lite on 2 frames of frames.txt at 352x480"
    assert lines[1].endswith("% of labels are the same with and without VNNI")
    assert lines[2].startswith("val (2 frames): mIoU ")
    assert lines[3].startswith(f"{path}: 25 scales; INT8 costs ")
    assert lines[3].endswith(" points of mIoU on val (100 allowed)")
    assert len(lines) == 4
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == ["mine-int8.bin", "mine-int8.xml", "mine-int8.xml.json"]
    facts = json.loads((tmp_path / "mine-int8.xml.json").read_text(encoding="utf-8"))
    assert facts["precision"] == "int8"
    assert facts["float_layers"] == []
    assert facts["calibration_frames"] == 2
    assert (facts["measured_on"], facts["images"]) == ("val", 2)
    assert facts["drop_points"] == pytest.approx(100 * (facts["fp32_miou"] - facts["int8_miou"]))
    # Weights of one byte: the file is a quarter of the FP32 one's 19 MB.
    assert (tmp_path / "mine-int8.bin").stat().st_size < 6e6
    backend = choose(str(path)).open((64, 96))
    assert backend.info.precision == "int8"
    assert backend.infer(np.zeros((1, 64, 96, 3), np.uint8)).shape == (1, 64, 96)


def test_a_refused_network_leaves_nothing(
    weights: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("roadseg.quantize.search.rank_layers", lambda *_, **__: ["pool", "pool_1"])
    mious = iter([0.6, 0.5, 0.6, 0.55, 0.6, 0.59, 0.6, 0.6])
    monkeypatch.setattr("roadseg.quantize.search.accuracy.miou", lambda *_: next(mious))
    output = tmp_path / "named.xml"
    assert quantize(weights, data, output) == 8
    out, err = capsys.readouterr()
    # On each kind of processor, with all layers in INT8 and then with one in float.
    assert [line for line in out.splitlines() if "mIoU" in line] == [
        line for line in out.splitlines() if "(-10.00 points)" in line or "(-1.00 points)" in line
    ]
    assert err == (
        "error: INT8 costs 1.00 points of mIoU on val even with 1 layer left float, allowed are "
        "0.5: nothing was written: calibrate on more frames, allow more with --max-drop, or use "
        "--force\n"
    )
    assert list(tmp_path.iterdir()) == []


def test_the_output_folder_is_made_and_a_missing_list_is_named(
    weights: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "none.txt"
    folder = tmp_path / "new" / "folder"
    # The older name of the option is still understood.
    for option in ("--frame-list", "--calibration"):
        given = ["--model", str(weights), "--data", str(data), "--output", str(folder)]
        assert main(["quantize", *given, option, str(missing)]) == 7
        assert capsys.readouterr().err == (
            f"error: no list of frames at {missing}: "
            "give one with --frame-list, one frame per line\n"
        )
    assert folder.is_dir()
    file = tmp_path / "file"
    file.touch()
    assert quantize(weights, data, file / "out") == 4
    path = file / "out" / "mine-int8.xml"
    assert capsys.readouterr().err == (
        f"error: cannot write {path} ({file} is no folder): give another name or free the space it "
        "needs\n"
    )


def test_own_classes_and_frames_chosen_as_calibrate_does(
    tiny_farm: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    weights = tmp_path / "farm.safetensors"
    classes = open_dataset(tiny_farm, "val").classes
    save_weights(weights, build_model("segnet-lite", 3), "segnet-lite", classes=classes)
    given = ["--model", str(weights), "--data", str(tiny_farm), "--output", str(tmp_path / "out")]
    assert main(["quantize", *given, "--max-drop", "100", "--threads", "1"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "calibrating segnet-lite on 2 frames of train at 320x512"
    path = tmp_path / "out" / "farm-int8.xml"
    assert lines[-1].startswith(f"{path}: 25 scales; INT8 costs ")
    assert classes_of_file(path).names == ("track", "field", "sky")


def test_frames_without_labels(
    weights: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for number in range(2):
        shutil.copy(data / f"{number}.png", pictures)
    given = ["--model", str(weights), "--data", str(pictures), "--output", str(tmp_path)]
    monkeypatch.setattr("roadseg.quantize.search.rank_layers", lambda *_, **__: ["pool"])
    monkeypatch.setattr("roadseg.quantize.search.accuracy.label_miou", lambda *_: 0.5)
    assert main(["quantize", *given, "--threads", "1"]) == 8
    err = capsys.readouterr().err
    assert "on pictures, mean IoU with them 0.500 (98.5% and 0.91 are needed" in err
    assert not (tmp_path / "mine-int8.xml").exists()
    monkeypatch.setattr("roadseg.quantize.search.accuracy.label_miou", lambda *_: 0.95)
    monkeypatch.setattr("roadseg.quantize.search.accuracy.agreement", lambda *_: 0.99)
    assert main(["quantize", *given, "--threads", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == (
        f"{tmp_path / 'mine-int8.xml'}: 25 scales; INT8 keeps 99.00% of the labels of FP32 on "
        "pictures, mean IoU with them 0.950 (98.5% and 0.91 are needed without labels)"
    )
    facts = json.loads((tmp_path / "mine-int8.xml.json").read_text(encoding="utf-8"))
    assert (facts["measured_on"], facts["agreement"], facts["label_miou"]) == (
        "pictures",
        0.99,
        0.95,
    )


def test_libraries_are_looked_for_before_any_frame_is_read(
    weights: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def collect(*_: object, **__: object) -> None:
        raise AssertionError("frames were read")

    monkeypatch.setattr("roadseg.quantize.inputs.collect_frames", collect)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert quantize(weights, data, tmp_path / "out") == 6
    assert capsys.readouterr().err == (
        "error: quantising needs ONNX, which is not installed: pip install 'roadseg[export]'\n"
    )
    assert not (tmp_path / "out").exists()
