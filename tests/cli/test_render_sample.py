"""`roadseg render-sample`: what it writes, prints and refuses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from roadseg.datasets.camvid import CamVid
from roadseg.synth import Drive


def test_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip, labels = tmp_path / "drive.mp4", tmp_path / "labels"
    arguments = ["--seconds", "0.2", "--fps", "10", "--size", "64x96", "--seed", "5"]
    code = main(["render-sample", str(clip), "--labels", str(labels), *arguments])
    output = capsys.readouterr()
    assert code == 0
    assert output.out == f"{clip}: 2 frames of 64x96\n"
    assert clip.stat().st_size > 0
    assert sorted(p.name for p in labels.iterdir()) == ["000000.png", "000001.png"]
    drawn = cv2.imread(str(labels / "000001.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(drawn, Drive(5, (64, 96), 10.0).render(1)[1])


def test_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = tmp_path / "set"
    arguments = ["--count", "2", "--size", "40x56", "--split", "extra"]
    assert main(["render-sample", "--dataset", str(root), *arguments]) == 0
    assert capsys.readouterr().out == f"{root}: 2 scenes, listed in {root / 'extra.txt'}\n"
    assert CamVid(root, "extra")[1][0].shape == (40, 56, 3)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (
            [],
            2,
            "nothing says what to write: give either a clip to write, like drive.mp4, or "
            "--dataset FOLDER",
        ),
        (
            ["a.mp4", "--dataset", "set"],
            2,
            "a clip and --dataset are two runs: give either a clip to write, like drive.mp4, or "
            "--dataset FOLDER",
        ),
        (
            ["a.mp4", "--size", "360"],
            2,
            "size '360' is not HxW (height x width of the pictures): "
            "use for example --size 360x480",
        ),
        (
            ["a.mp4", "--size", "8x8"],
            2,
            "cannot render 8x8: use sides of 32 to 4096 pixels",
        ),
        (["a.mp4", "--size", "65x96"], 2, "cannot encode 65x96: H.264 needs even sides: use such"),
        (["a.mp4", "--seed", "-2"], 2, "--seed -2 is negative: use 0 or more"),
        (
            ["a.mp4", "--seconds", "0"],
            2,
            "--seconds 0.0 is out of range: use more than 0, at most 86400",
        ),
        (["a.mp4", "--fps", "0"], 2, "--fps 0.0 is out of range: use more than 0, at most 240"),
        (["a.gif"], 2, "cannot write a.gif: the clip is an MP4: name it *.mp4"),
        (
            ["--dataset", "set", "--labels", "x"],
            2,
            "--labels is for a clip, and a --dataset always has its labels: leave it out",
        ),
        (
            ["--dataset", "ds", "--count", "1", "--seconds", "7"],
            2,
            "--seconds is for a clip, not a --dataset: leave it out",
        ),
        (
            ["--dataset", "ds", "--fps", "15"],
            2,
            "--fps is for a clip, not a --dataset: leave it out",
        ),
        (
            ["x.mp4", "--count", "7"],
            2,
            "--count is for a --dataset, and this is a clip: leave it out",
        ),
        (
            ["x.mp4", "--split", "val"],
            2,
            "--split is for a --dataset, and this is a clip: leave it out",
        ),
        (["--dataset", "set", "--count", "0"], 2, "cannot write 0 scenes: use --count 1 or more"),
        (
            ["/dev/null/a.mp4", "--seconds", "0.1"],
            4,
            "cannot write /dev/null/a.mp4 (/dev/null is no folder): choose a folder you may write "
            "to that has room",
        ),
    ],
)
def test_refusals(
    arguments: list[str],
    code: int,
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["render-sample", *arguments]) == code
    assert capsys.readouterr().err.splitlines()[-1] == f"error: {message}"
    assert list(tmp_path.iterdir()) == []
