"""Masks of all frames in one file, and its reader."""

from __future__ import annotations

import errno
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SinkError, SourceError, UsageError
from roadseg.core.types import Frame, Labels
from roadseg.media.mask_video import MaskVideo
from roadseg.media.sinks.mask_video import MaskVideoSink
from roadseg.media.sinks.png import PngMaskSink
from roadseg.media.sinks.sink import open_mask_sink
from roadseg.media.sources.base import SourceInfo
from tests.support.clips import write_clip

pytestmark = pytest.mark.usefixtures("as_typed")

RATE = Fraction(30_000, 1001)
INFO = SourceInfo("test", "file", None, RATE, None, False, None, Fraction(1, 30_000))
CLASSES = ("sky", "böse Straße", 'a "b", c')
NO_PICTURE = np.zeros((1, 1, 3), np.uint8)


def mask(i: int, size_hw: tuple[int, int] = (33, 47)) -> Labels:
    """Areas with edges, odd in size, with ids up to 255."""
    rows, columns = np.indices(size_hw)
    return ((rows * (i + 3) // 40 + columns // 9 + 53 * i) % 256).astype(np.uint8)


def write(path: Path, count: int = 12) -> Path:
    sink = MaskVideoSink(path, INFO, CLASSES)
    for i in range(count):
        sink.write(mask(i), Frame(NO_PICTURE, i, float(i / RATE), 0.0))
    sink.close(ok=True)
    assert (sink.frames_out, sink.warnings) == (count, [])
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("masks") / "masks.mkv")


def test_masks_come_back_exactly_in_any_order(whole: Path) -> None:
    with MaskVideo(whole) as masks:
        assert (len(masks), masks.size_hw, masks.classes) == (12, (33, 47), CLASSES)
        assert masks.is_whole
        for i, ids in enumerate(masks):
            assert ids.dtype == np.uint8
            np.testing.assert_array_equal(ids, mask(i))
        for i in (11, 0, 5, 6, 6, 2, -1, -12):
            np.testing.assert_array_equal(masks[i], mask(i % 12))
        for i in (12, -13):
            with pytest.raises(IndexError, match="holds 12 masks"):
                masks[i]


def test_times_are_the_sources_to_the_millisecond(whole: Path) -> None:
    with MaskVideo(whole) as masks:
        expected = [float(i / RATE) for i in range(12)]
        np.testing.assert_allclose(masks.times_s, expected, atol=5e-4)
        for time_s, number in ((0, 0), (0.032, 0), (float(1 / RATE), 1), (0.29, 8), (9, 11)):
            np.testing.assert_array_equal(masks.at(time_s), mask(number))
        np.testing.assert_array_equal(masks.at(-1), mask(0))


def test_frames_that_were_dropped_leave_gaps_in_the_times(tmp_path: Path) -> None:
    sink = MaskVideoSink(tmp_path / "a.mkv", INFO, CLASSES)
    for i, time_s in enumerate((0.5, 0.5004, 7.25)):
        sink.write(mask(i), Frame(NO_PICTURE, i, time_s, 0.0))
    sink.close(ok=True)
    with MaskVideo(tmp_path / "a.mkv") as masks:
        assert masks.times_s.tolist() == [0.5, 0.501, 7.25]
        np.testing.assert_array_equal(masks.at(7.0), mask(1))


def test_the_same_masks_are_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    assert write(tmp_path / "again.mkv").read_bytes() == whole.read_bytes()


def test_opencv_reads_the_ids(whole: Path) -> None:
    capture = cv2.VideoCapture(str(whole))
    good, grey_bgr = capture.read()
    capture.release()
    assert good
    np.testing.assert_array_equal(grey_bgr, np.repeat(mask(0)[..., None], 3, axis=2))


def test_a_file_that_was_cut_off_is_read_to_its_last_whole_mask(
    whole: Path, tmp_path: Path
) -> None:
    data, cut = whole.read_bytes(), tmp_path / "cut.mkv"
    counts = []
    for length in range(len(data) // 3, len(data), 41):
        cut.write_bytes(data[:length])
        with MaskVideo(cut) as masks:
            assert not masks.is_whole
            for i, ids in enumerate(masks):
                np.testing.assert_array_equal(ids, mask(i))
            if len(masks):
                np.testing.assert_array_equal(masks[0], mask(0))
            counts.append(len(masks))
    assert counts == sorted(counts)
    assert counts[0] < 5
    assert counts[-1] == 12


def test_a_damaged_mask_is_not_taken_for_another(whole: Path, tmp_path: Path) -> None:
    data, bad = bytearray(whole.read_bytes()), tmp_path / "bad.mkv"
    middle = len(data) // 2
    data[middle : middle + 8] = bytes(8)
    bad.write_bytes(data)
    good = 0
    with MaskVideo(bad) as masks:
        for i in range(len(masks)):
            try:
                ids = masks[i]
            except SourceError as error:
                assert "is damaged" in error.what  # noqa: PT017  (one of several)
                continue
            assert any(np.array_equal(ids, mask(j)) for j in range(12))
            good += 1
    assert 9 <= good <= 11


def test_what_a_killed_run_left_gets_a_name(tmp_path: Path) -> None:
    killed = MaskVideoSink(tmp_path / "a.mkv", INFO, CLASSES)
    for i in range(60):
        killed.write(mask(i), Frame(NO_PICTURE, i, i / 25, 0.0))
    killed.sync()
    killed._claim.release()  # as the system does for a process that is gone

    sink = MaskVideoSink(tmp_path / "a.mkv", INFO, CLASSES)
    sink.close(ok=False)
    place = tmp_path / "a-interrupted-1.mkv"
    with MaskVideo(place) as masks:
        assert not masks.is_whole
        assert 25 <= len(masks) < 60
        np.testing.assert_array_equal(masks[3], mask(3))
        assert sink.warnings == [
            f"an earlier run into a.mkv was killed: what it wrote, {len(masks)} frames, is now "
            f"{place}"
        ]
    killed.close(ok=False)


def test_without_a_mask_an_older_file_stays(whole: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.mkv"
    target.write_bytes(whole.read_bytes())
    for ok in (True, False):
        MaskVideoSink(target, INFO, CLASSES).close(ok=ok)
    assert target.read_bytes() == whole.read_bytes()
    assert [each.name for each in tmp_path.iterdir() if each.suffix == ".part"] == []


def test_a_full_disk_leaves_the_masks_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = MaskVideoSink(tmp_path / "a.mkv", INFO, CLASSES)
    for i in range(4):
        sink.write(mask(i), Frame(NO_PICTURE, i, i / 25, 0.0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(sink, "_encode", full)
    with pytest.raises(SinkError, match="the disk is full while writing"):
        sink.write(mask(4), Frame(NO_PICTURE, 4, 0.2, 0.0))
    sink.close(ok=False)
    assert sink.warnings == [f"{tmp_path / 'a.mkv'} ends early: it holds the first 4 masks"]
    with MaskVideo(tmp_path / "a.mkv") as masks:
        assert len(masks) == 4


def test_masks_of_another_size_or_kind_are_refused(tmp_path: Path) -> None:
    sink = MaskVideoSink(tmp_path / "a.mkv", INFO, CLASSES)
    with pytest.raises(ValueError, match=r"expected \(H, W\) uint8 class ids, got \(2, 2, 3\)"):
        sink.write(np.zeros((2, 2, 3), np.uint8), Frame(NO_PICTURE, 0, 0.0, 0.0))
    sink.write(mask(0), Frame(NO_PICTURE, 0, 0.0, 0.0))
    with pytest.raises(SinkError) as caught:
        sink.write(mask(1, (8, 6)), Frame(NO_PICTURE, 1, 0.1, 0.0))
    assert str(caught.value) == (
        f"{tmp_path / 'a.mkv'} cannot hold a mask of 6x8 behind those of 47x33: give a folder, "
        f"--save-masks {tmp_path / 'a'}"
    )


def test_the_name_chooses_the_kind(tmp_path: Path) -> None:
    (tmp_path / "folder.mkv").mkdir()
    for name, kind in {
        "a.mkv": MaskVideoSink,
        "A.MKV": MaskVideoSink,
        "masks": PngMaskSink,
        "run.2": PngMaskSink,
        "folder.mkv": PngMaskSink,
    }.items():
        sink = open_mask_sink(tmp_path / name, INFO, CLASSES)
        assert type(sink) is kind
        sink.close(ok=False)
    with pytest.raises(UsageError) as caught:
        open_mask_sink(tmp_path / "a.npz", INFO, CLASSES)
    assert str(caught.value) == (
        f"cannot write masks as .npz: use --save-masks {tmp_path / 'a.mkv'}, or a folder for "
        f"PNGs, --save-masks {tmp_path / 'a'}"
    )


def test_files_that_hold_no_masks(tmp_path: Path) -> None:
    for path in (
        write_clip(tmp_path / "a.mp4"),
        write_clip(tmp_path / "b.mkv", codec="ffv1", pix_fmt="yuv420p"),
    ):
        with pytest.raises(SourceError, match="holds no masks"):
            MaskVideo(path)
    with pytest.raises(SourceError, match="no such file"):
        MaskVideo(tmp_path / "none.mkv")
