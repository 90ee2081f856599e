"""Numbered PNGs and masks."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.types import Frame
from roadseg.media.sinks import png as png_sink
from roadseg.media.sinks.png import PngFolderSink, PngMaskSink
from roadseg.media.sinks.sink import Sink, open_sink
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.opening import open_source

pytestmark = pytest.mark.usefixtures("as_typed")

INFO = SourceInfo("test", "images", None, Fraction(25), None, False, None, Fraction(1, 25))


def frame_at(index: int) -> Frame:
    return Frame(np.zeros((1, 1, 3), dtype=np.uint8), index, index / 25, 0.0)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_pictures_come_back_exactly_under_the_frames_number(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    images = {i: rng.integers(0, 256, (5, 7, 3), dtype=np.uint8) for i in (0, 1, 7, 1_234_567)}
    folder = tmp_path / "a" / "out"

    sink = open_sink(folder, INFO)
    assert isinstance(sink, PngFolderSink)
    assert isinstance(sink, Sink)
    for i, image in images.items():
        sink.write(image, frame_at(i))
    sink.close(ok=True)

    assert (sink.frames_out, sink.warnings, sink.path) == (4, [], folder)
    assert names(folder) == ["000000.png", "000001.png", "000007.png", "1234567.png"]
    for i, image in images.items():
        np.testing.assert_array_equal(cv2.imread(str(folder / f"{i:06d}.png")), image)


def test_masks_are_single_channel_class_ids(tmp_path: Path) -> None:
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    sink = PngMaskSink(tmp_path / "masks", INFO)
    sink.write(ids, frame_at(3))
    sink.close(ok=True)

    stored = cv2.imread(str(tmp_path / "masks" / "000003.png"), cv2.IMREAD_UNCHANGED)
    assert stored is not None
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, ids)
    assert sink.frames_out == 1


@pytest.mark.parametrize(
    ("ids", "got"),
    [
        (np.zeros((2, 2, 3), np.uint8), r"\(2, 2, 3\) uint8"),
        (np.zeros((2, 2), np.int64), r"\(2, 2\) int64"),
    ],
)
def test_masks_of_another_kind_are_refused(tmp_path: Path, ids: np.ndarray, got: str) -> None:
    sink = PngMaskSink(tmp_path / "masks", INFO)
    with pytest.raises(ValueError, match=rf"expected \(H, W\) uint8 class ids, got {got}"):
        sink.write(ids, frame_at(0))


def test_older_pngs_are_announced_or_refused(tmp_path: Path) -> None:
    (tmp_path / "000000.png").touch()
    (tmp_path / "000009.png").touch()

    assert PngFolderSink(tmp_path, INFO).warnings == [
        f"--output {tmp_path} already holds 2 PNG files; those of equal name are replaced"
    ]
    with pytest.raises(SinkError) as caught:
        open_sink(tmp_path, INFO, overwrite=False)
    assert str(caught.value) == (
        f"--output {tmp_path} holds 2 PNG files: empty it or give another folder"
    )


def test_folder_of_the_source_is_refused(tmp_path: Path) -> None:
    image = np.full((4, 4, 3), 9, dtype=np.uint8)
    assert cv2.imwrite(str(tmp_path / "000000.png"), image)
    link = tmp_path.with_name("link")
    link.symlink_to(tmp_path)
    for spec in (tmp_path, tmp_path / "000000.png", tmp_path / "*.png", link):
        info = open_source(str(spec)).info
        for folder in (tmp_path, link):
            with pytest.raises(SinkError) as caught:
                open_sink(folder, info)
            assert str(caught.value) == (
                f"--output {folder} is the folder that the source is read from: give another"
            )
        with pytest.raises(SinkError) as caught:
            PngMaskSink(tmp_path, info)
        assert str(caught.value) == (
            f"--save-masks {tmp_path} is the folder that the source is read from: give another"
        )
    assert names(tmp_path) == ["000000.png"]


def test_masks_and_pictures_need_a_folder_each(tmp_path: Path) -> None:
    with pytest.raises(SinkError) as caught:
        PngMaskSink(tmp_path / "out", INFO, output=tmp_path / "x" / ".." / "out")
    assert str(caught.value) == (
        f"--save-masks {tmp_path / 'out'} is also the folder of --output: give each a folder of "
        "its own"
    )
    PngMaskSink(tmp_path / "masks", INFO, output=tmp_path / "out").close(ok=True)


def test_file_instead_of_a_folder(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.touch()
    with pytest.raises(SinkError) as caught:
        open_sink(target, INFO)
    assert str(caught.value) == f"--output {target} is a file: give a folder"


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    target = tmp_path / "file" / "folder"
    with pytest.raises(SinkError) as caught:
        open_sink(target, INFO)
    assert str(caught.value).startswith(f"cannot write {target} (")


def test_full_disk_leaves_only_whole_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "out"
    sink = PngFolderSink(folder, INFO)
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    sink.write(image, frame_at(0))
    whole = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        whole(self, data[: len(data) // 2])
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(png_sink.Path, "write_bytes", half)
    with pytest.raises(SinkError) as caught:
        sink.write(image, frame_at(1))
    sink.close(ok=False)

    assert str(caught.value) == (
        f"the disk is full while writing {folder / '000001.png'}: free some space and run it again"
    )
    assert names(folder) == ["000000.png"]
    assert sink.frames_out == 1


def test_names_of_a_looping_source_go_on(tmp_path: Path) -> None:
    for i in range(2):
        image = np.full((4, 4, 3), i, dtype=np.uint8)
        assert cv2.imwrite(str(tmp_path / f"{i}.png"), image)
    with open_source(str(tmp_path), loop=True, max_frames=3) as source:
        sink = open_sink(tmp_path / "out", replace(source.info))
        while (frame := source.read()) is not None:
            sink.write(frame.image_bgr, frame)
        sink.close(ok=True)
    assert names(tmp_path / "out") == ["000000.png", "000001.png", "000002.png"]


def test_the_longest_name_that_a_picture_can_have(tmp_path: Path) -> None:
    sink = PngFolderSink(tmp_path, INFO)
    name = "x" * 251
    sink.write(np.zeros((2, 2, 3), np.uint8), replace(frame_at(0), name=name))
    sink.close(ok=True)
    assert names(tmp_path) == [f"{name}.png"]
