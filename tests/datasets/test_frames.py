"""The list of calibration frames, and reading them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import DataError, SourceError
from roadseg.datasets.frames import (
    collect_frames,
    evenly,
    read_frame_list,
)
from tests.support import ROOT
from tests.support.clips import write_clip

pytestmark = pytest.mark.usefixtures("as_typed")

SHIPPED = ROOT / "calibration" / "frames.txt"


def write_picture(path: Path, value: int, size_hw: tuple[int, int] = (36, 48)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size_hw, 3), value, np.uint8))


def test_the_list_that_ships() -> None:
    frames = read_frame_list(SHIPPED)
    assert len(frames) == len(set(frames)) == 92
    assert all(f.startswith("train/") and f.endswith(".png") for f in frames)


def test_comments_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    path.write_text("# night\n\n a.png  # blurred\nsub/b.png\n", encoding="utf-8")
    assert read_frame_list(path) == ["a.png", "sub/b.png"]


def test_missing_and_empty_lists(tmp_path: Path) -> None:
    path = tmp_path / "frames.txt"
    with pytest.raises(DataError) as caught:
        read_frame_list(path)
    assert str(caught.value) == (
        f"no list of frames at {path}: give one with --frame-list, one frame per line"
    )
    path.write_text("# nothing\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_frame_list(path)
    assert str(caught.value) == f"{path} lists no frames: write one path per line"


def test_frames_get_the_size_of_the_network(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 10)
    write_picture(tmp_path / "sub" / "b.png", 20, (90, 50))
    listed = tmp_path / "list.txt"
    listed.write_text("a.png\nsub/b.png\n")
    found = collect_frames(tmp_path, frame_list=listed)
    assert [record.name for record in found.records] == ["a.png", "sub/b.png"]
    assert found.described == "list.txt"
    frames = found.batches
    assert [f.shape for f in frames] == [(1, 352, 480, 3)] * 2
    assert [int(f.max()) for f in frames] == [10, 20]
    assert {f.dtype for f in frames} == {np.dtype(np.uint8)}
    (small,) = collect_frames(tmp_path, frame_list=listed, count=1, network_hw=(32, 64)).batches
    assert small.shape == (1, 32, 64, 3)


def test_a_missing_frame(tmp_path: Path) -> None:
    listed = tmp_path / "list.txt"
    listed.write_text("train/a.png\n")
    with pytest.raises(DataError) as caught:
        collect_frames(tmp_path, frame_list=listed)
    assert str(caught.value) == (
        f"no calibration frame at {tmp_path / 'train/a.png'}: give --data the folder that the "
        "list's paths are relative to"
    )


def write_grey(path: Path, count: int) -> None:
    """A clip whose frame i is grey of brightness 50 + 2i."""
    images = [np.full((48, 64, 3), 50 + 2 * i, np.uint8) for i in range(count)]
    write_clip(path, codec="ffv1", images=images)


def test_evenly() -> None:
    assert evenly(range(8), 3) == [0, 2, 5]
    assert evenly(range(4), 4) == evenly(range(4), 9) == [0, 1, 2, 3]
    assert evenly(range(367), 1) == [0]


def test_a_folder_of_images(tmp_path: Path) -> None:
    for i in range(12):
        write_picture(tmp_path / f"frame{i}.png", i)
    (tmp_path / "notes.txt").write_text("rain")
    seen: list[tuple[str, str]] = []
    found = collect_frames(
        tmp_path, count=4, progress=lambda state: seen.append((state.stage, state.detail))
    )
    # In the order of their numbers, not of their letters.
    assert [r.name for r in found.records] == [f"frame{i}.png" for i in (0, 3, 6, 9)]
    assert [b.shape for b in found.batches] == [(1, 352, 480, 3)] * 4
    assert [int(b[0, 0, 0, 0]) for b in found.batches] == [0, 3, 6, 9]
    assert found.network_hw == (352, 480)
    assert found.described == tmp_path.name
    assert seen == [("frames", f"{i}/4") for i in range(1, 5)]
    expected = hashlib.sha256((tmp_path / "frame3.png").read_bytes()).hexdigest()
    assert found.records[1].sha256 == expected
    assert len(collect_frames(tmp_path, network_hw=(32, 64)).batches) == 12


def test_a_training_split(tiny_camvid: Path) -> None:
    every = collect_frames(tiny_camvid)
    assert [r.name for r in every.records] == ["train/0.png", "train/4.png"]
    assert every.described == "train.txt"
    three = collect_frames(tiny_camvid, count=3)
    assert [r.name for r in three.records] == ["train/0.png", "train/2.png", "train/4.png"]


def test_camvid_gives_the_list_that_ships(camvid_dir: Path) -> None:
    found = collect_frames(camvid_dir, network_hw=(32, 64))
    assert [r.name for r in found.records] == read_frame_list(SHIPPED)


@pytest.mark.parametrize(
    ("frames", "count", "chosen"),
    [
        (3, 4, [0, 1, 2]),
        (8, 4, [0, 2, 4, 6]),
        (9, 4, [0, 2, 4, 6]),
        (16, 4, [0, 4, 8, 12]),
        (100, 4, [0, 16, 48, 80]),
        (5, 1, [0]),
    ],
)
def test_a_video(tmp_path: Path, frames: int, count: int, chosen: list[int]) -> None:
    clip = tmp_path / "clip.mkv"
    write_grey(clip, frames)
    found = collect_frames(clip, count=count, network_hw=(32, 64))
    assert [r.name for r in found.records] == [f"clip.mkv#{i}" for i in chosen]
    assert found.described == "clip.mkv"
    brightness = [float(b.mean()) for b in found.batches]
    # Up to an offset, which converting to YUV and back leaves.
    np.testing.assert_allclose(np.diff(brightness), 2 * np.diff(chosen), atol=1.5)
    assert collect_frames(clip, count=count, network_hw=(32, 64)).records == found.records
    assert len({r.sha256 for r in found.records}) == len(chosen)


def test_a_video_decides_on_the_size(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    write_grey(clip, 2)
    assert collect_frames(clip).network_hw == (352, 480)


def test_a_video_that_was_cut_off(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mkv"
    write_grey(clip, 40)
    whole = collect_frames(clip, network_hw=(32, 64))
    assert whole.warnings == ()
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) // 2])
    cut = collect_frames(clip, network_hw=(32, 64))
    assert 0 < len(cut.records) < 40
    assert cut.records == whole.records[: len(cut.records)]
    assert cut.warnings


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    missing = tmp_path / "none"
    with pytest.raises(DataError) as caught:
        collect_frames(missing)
    assert str(caught.value) == (
        f"nothing at {missing} to calibrate on: give --data a folder of images or a video file"
    )
    with pytest.raises(DataError) as caught:
        collect_frames(tmp_path)
    assert str(caught.value) == (
        f"no images in {tmp_path} to calibrate on: give --data a folder of .png or .jpg files, "
        "one in the CamVid layout (train.txt), or a video file"
    )


def test_frames_that_cannot_be_read(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", 1)
    bad = tmp_path / "b.png"
    bad.write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        collect_frames(tmp_path)
    assert str(caught.value) == (
        f"cannot decode {bad}: the file is empty, damaged or not a picture: copy it again"
    )
    text = tmp_path / "clip.mp4"
    text.write_text("no video")
    with pytest.raises(SourceError) as source_error:
        collect_frames(text)
    assert str(source_error.value) == (
        f"{text} is not a video that FFmpeg can read: give a video file, an image or a folder"
    )
