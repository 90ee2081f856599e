"""Clips and data sets on disk."""

from __future__ import annotations

from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadseg.core.errors import SinkError, UsageError
from roadseg.datasets.camvid import CamVid
from roadseg.synth import Drive, random_scene
from roadseg.synth.export import write_clip, write_dataset

_SMALL = (72, 96)


def decode(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def test_clip_and_labels(tmp_path: Path) -> None:
    drive = Drive(1, _SMALL, fps=12.5, frames=5)
    seen: list[str] = []
    write_clip(
        drive,
        tmp_path / "new" / "drive.mp4",
        tmp_path / "labels",
        tmp_path / "labels.npz",
        lambda state: seen.append(state.detail),
    )
    frames = decode(tmp_path / "new" / "drive.mp4")
    assert len(frames) == 5
    stacked = np.load(tmp_path / "labels.npz")["labels"]
    assert stacked.shape == (5, *_SMALL)
    for index, frame in enumerate(frames):
        image, labels = drive.render(index)
        assert psnr(frame, image) > 28
        assert np.array_equal(stacked[index], labels)
        png = cv2.imread(str(tmp_path / "labels" / f"{index:06d}.png"), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(png, labels)
    assert seen == [f"{k}/5" for k in range(1, 6)]
    with av.open(str(tmp_path / "new" / "drive.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 12.5
    data = (tmp_path / "new" / "drive.mp4").read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # faststart
    assert sorted(p.name for p in tmp_path.iterdir()) == ["labels", "labels.npz", "new"]


def test_a_failure_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    target = tmp_path / "drive.mp4"
    target.write_bytes(b"older")

    def fail(_state: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_clip(Drive(1, _SMALL, frames=3), target, progress=fail)
    assert target.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [target]


def test_places_that_cannot_be_written(tmp_path: Path) -> None:
    drive = Drive(1, _SMALL, frames=1)
    file = tmp_path / "file"
    file.write_text("x")
    with pytest.raises(SinkError) as error:
        write_clip(drive, file / "drive.mp4")
    assert str(error.value) == (
        f"cannot write {file / 'drive.mp4'} ({file} is no folder): choose a folder you may write "
        "to that has room"
    )
    folder = tmp_path / "folder.mp4"
    folder.mkdir()
    with pytest.raises(SinkError) as error:
        write_clip(drive, folder)
    assert str(error.value) == f"cannot write {folder}: it is a folder: give a file name"
    with pytest.raises(SinkError, match="choose a folder you may write to"):
        write_dataset(file, 1, _SMALL)


def test_no_encoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadseg.synth.export._ENCODER", "libnothing")
    with pytest.raises(SinkError) as error:
        write_clip(Drive(1, _SMALL, frames=1), tmp_path / "drive.mp4")
    expected = "this PyAV has no H.264 encoder: run pip install --force-reinstall av"
    assert str(error.value) == expected
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "size_hw", "message"),
    [
        ("a.avi", _SMALL, "cannot write a.avi: the clip is an MP4: name it *.mp4"),
        ("a.mp4", (73, 96), "cannot encode 73x96: H.264 needs even sides: use such"),
    ],
)
def test_clips_that_cannot_be(name: str, size_hw: tuple[int, int], message: str) -> None:
    with pytest.raises(UsageError) as error:
        write_clip(Drive(0, size_hw, frames=1), Path(name))
    assert str(error.value) == message


def test_dataset_is_the_camvid_layout(tmp_path: Path) -> None:
    write_dataset(tmp_path / "set", 2, _SMALL, seed=3, split="extra")
    data = CamVid(tmp_path / "set", "extra")
    assert len(data) == 2
    for index, (image, labels) in enumerate(data):
        expected, expected_labels = random_scene(4_000_000 + index, _SMALL)
        assert np.array_equal(image, expected)
        assert np.array_equal(labels, expected_labels)
    lines = (tmp_path / "set" / "extra.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "extra/synth003_000001.png extraannot/synth003_000001.png"


@pytest.mark.parametrize(
    ("count", "split", "message"),
    [
        (0, "train", "cannot write 0 scenes: use count=1 or more"),
        (1, "../x", "split '../x' is not a plain name: use letters and digits, like train"),
    ],
)
def test_datasets_that_cannot_be(tmp_path: Path, count: int, split: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        write_dataset(tmp_path / "set", count, _SMALL, split=split)
    assert str(error.value) == message
    assert not (tmp_path / "set").exists()
