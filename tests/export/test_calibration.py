"""The list of calibration frames, and reading them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.errors import DataError
from roadseg.export.calibration import load_frames, read_frame_list, write_frame_list

SHIPPED = Path(__file__).resolve().parents[2] / "calibration" / "frames.txt"


def write_picture(path: Path, value: int, size_hw: tuple[int, int] = (36, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size_hw, 3), value, np.uint8))


def test_the_list_that_ships() -> None:
    frames = read_frame_list(SHIPPED)
    assert len(frames) == len(set(frames)) == 92
    assert all(f.startswith("train/") and f.endswith(".png") for f in frames)


def test_the_list_that_ships_follows_its_rule(camvid_dir: Path, tmp_path: Path) -> None:
    assert write_frame_list(tmp_path / "frames.txt", camvid_dir) == 92
    assert (tmp_path / "frames.txt").read_text() == SHIPPED.read_text()


def test_comments_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text("# night\n\n a.png  # blurred\nsub/b.png\n", encoding="utf-8")
    assert read_frame_list(path) == ["a.png", "sub/b.png"]


def test_missing_and_empty_lists(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    with pytest.raises(DataError) as caught:
        read_frame_list(path)
    assert str(caught.value) == (
        f"no calibration list at {path}: give one with --calibration, one frame per line"
    )
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_frame_list(path)
    assert str(caught.value) == f"{path} lists no frames: write one path per line"


def test_frames_get_the_size_of_the_network(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 10)
    write_picture(tmp_path / "sub" / "b.png", 20, (90, 50))
    frames = load_frames(tmp_path, ["a.png", "sub/b.png"])
    assert [f.shape for f in frames] == [(1, 352, 480, 3)] * 2
    assert [int(f.max()) for f in frames] == [10, 20]
    assert {f.dtype for f in frames} == {np.dtype(np.uint8)}
    (small,) = load_frames(tmp_path, ["a.png"], (32, 64))
    assert small.shape == (1, 32, 64, 3)


def test_a_missing_frame(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_frames(tmp_path, ["train/a.png"])
    assert str(caught.value) == (
        f"no calibration frame at {tmp_path / 'train/a.png'}: --data must be the folder that the "
        "list's paths are relative to"
    )
