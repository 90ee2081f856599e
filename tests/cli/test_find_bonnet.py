"""`roadseg find-bonnet` from the outside."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from tests.support.clips import write_clip

SIZE_HW = (120, 160)


def pictures(bonnet: bool) -> list[np.ndarray]:
    """Twenty pictures in which all moves, except for a bonnet in the lower 20 rows."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(20):
        coarse = rng.integers(0, 255, (12, 16, 3), np.uint8)
        frame = cv2.resize(coarse, SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST)
        if bonnet:
            frame[100:] = 40
        frames.append(frame)
    return frames


def test_a_clip_with_a_bonnet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # Three frames a second: each is far enough from the one before.
    clip = write_clip(tmp_path / "drive.mp4", images=pictures(bonnet=True), rate=3)
    mask = tmp_path / "new" / "mask.png"
    assert main(["find-bonnet", str(clip), "--output", str(mask)]) == 0
    assert capsys.readouterr().out.startswith(f"{mask}: leaves out 1")
    ignored = cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)
    assert ignored.shape == SIZE_HW
    assert (ignored[103:] == 255).all()
    assert (ignored[:96] == 0).all()
    run = ["run", str(clip), "--backend", "fake", "--no-show", "--output", str(tmp_path / "o.mp4")]
    assert main([*run, "--ignore-mask", str(mask)]) == 0


def test_a_folder_of_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "drive"
    folder.mkdir()
    for index, picture in enumerate(pictures(bonnet=True)):
        cv2.imwrite(str(folder / f"{index:02d}.png"), picture)
    mask = tmp_path / "mask.png"
    assert main(["find-bonnet", str(folder), "--output", str(mask)]) == 0
    assert cv2.imread(str(mask), cv2.IMREAD_UNCHANGED)[110, 80] == 255


def test_a_clip_without_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip = write_clip(tmp_path / "drive.mp4", images=pictures(bonnet=False), rate=3)
    mask = tmp_path / "mask.png"
    assert main(["find-bonnet", str(clip), "--output", str(mask)]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"error: {clip} shows no bonnet, as far as 20 frames tell: ")
    assert not mask.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no file for the mask is given: give --output mask.png"),
        (["--output", "mask.jpg"], "cannot be written to mask.jpg: use --output mask.png"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["find-bonnet", "drive.mp4", *arguments]) == 2
    assert message in capsys.readouterr().err
