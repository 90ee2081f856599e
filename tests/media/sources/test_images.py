"""Images, folders and globs as sources."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SourceError
from roadseg.core.types import Frame
from roadseg.media.sources.base import Source
from roadseg.media.sources.image_names import result_names
from roadseg.media.sources.images import natural_key
from roadseg.media.sources.opening import open_source


def save(path: Path, grey: int, size_hw: tuple[int, int] = (6, 8)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.full((*size_hw, 3), grey, dtype=np.uint8))
    return path


def read_all(source: Source) -> list[Frame]:
    with source:
        frames = list(iter(source.read, None))
        assert source.read() is None
    return frames


def greys(frames: list[Frame]) -> list[int]:
    return [int(f.image_bgr[0, 0, 0]) for f in frames]


def test_folder_in_natural_order_at_25_per_second(tmp_path: Path) -> None:
    for number in (10, 2, 1):
        save(tmp_path / f"frame{number}.png", number)
    (tmp_path / "notes.txt").write_text("not an image: replace or remove it")
    (tmp_path / "._frame1.png").write_bytes(b"what macOS archives leave behind")

    source = open_source(str(tmp_path))
    frames = read_all(source)

    assert greys(frames) == [1, 2, 10]
    assert [f.index for f in frames] == [0, 1, 2]
    assert [f.time_s for f in frames] == [0.0, 0.04, 0.08]
    info = source.info
    assert (info.kind, info.rate, info.frame_count) == ("images", 25, 3)
    assert (info.size_hw, info.path) == ((6, 8), tmp_path)
    assert info.input_dirs == (tmp_path.resolve(),)


def test_natural_key_orders_numbers_by_value_and_copes_with_any_mix() -> None:
    names = ["a10.png", "a2.png", "2.png", "a.png", "A3.png", "b1/x.png", "10.png"]
    ordered = [str(p) for p in sorted(map(Path, names), key=natural_key)]
    assert ordered == ["2.png", "10.png", "a2.png", "A3.png", "a10.png", "a.png", "b1/x.png"]


def test_single_image(tmp_path: Path) -> None:
    source = open_source(str(save(tmp_path / "one.PNG", 7)))
    assert greys(read_all(source)) == [7]
    assert source.info.frame_count == 1


def test_glob_over_folders(tmp_path: Path) -> None:
    for name in ("a/2.png", "a/10.png", "b/1.png", "b/skip.jpg"):
        save(tmp_path / name, len(name))

    source = open_source(str(tmp_path / "**" / "*.png"))

    assert greys(read_all(source)) == [7, 8, 7]
    assert source.info.path is None
    assert source.info.input_dirs == (tmp_path.resolve() / "a", tmp_path.resolve() / "b")


def test_names_with_glob_characters_are_files_first(tmp_path: Path) -> None:
    assert greys(read_all(open_source(str(save(tmp_path / "a[1].png", 9))))) == [9]


def test_sizes_may_differ_and_be_extreme(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1, (1, 1))
    save(tmp_path / "2.png", 2, (4320, 7680))
    save(tmp_path / "3.png", 3, (3, 500))
    assert [f.size_hw for f in read_all(open_source(str(tmp_path)))] == [
        (1, 1),
        (4320, 7680),
        (3, 500),
    ]


@pytest.mark.parametrize(
    ("stored", "expected_bgr"),
    [
        (np.full((4, 4), 100, np.uint8), (100, 100, 100)),
        (np.full((4, 4, 4), (10, 20, 30, 255), np.uint8), (10, 20, 30)),
        (np.full((4, 4, 4), (10, 20, 30, 0), np.uint8), (10, 20, 30)),
        (np.full((4, 4), 100 * 256 + 7, np.uint16), (100, 100, 100)),
        (np.full((4, 4, 3), (2560, 5120, 65535), np.uint16), (10, 20, 255)),
    ],
    ids=["grey", "bgra", "transparent", "grey16", "bgr16"],
)
def test_pixel_formats_become_8_bit_bgr(
    tmp_path: Path, stored: np.ndarray, expected_bgr: tuple[int, int, int]
) -> None:
    path = tmp_path / "image.png"
    assert cv2.imwrite(str(path), stored)

    (frame,) = read_all(open_source(str(path)))

    assert frame.image_bgr.dtype == np.uint8
    assert frame.image_bgr.shape == (4, 4, 3)
    assert tuple(frame.image_bgr[1, 1].tolist()) == expected_bgr


def test_unreadable_image_among_many_is_counted_and_leaves_a_gap(tmp_path: Path) -> None:
    save(tmp_path / "0.png", 10)
    (tmp_path / "1.png").write_bytes(b"broken")
    (tmp_path / "2.png").touch()
    save(tmp_path / "3.png", 13)

    source = open_source(str(tmp_path))
    frames = read_all(source)

    assert greys(frames) == [10, 13]
    assert [f.index for f in frames] == [0, 3]
    assert [f.time_s for f in frames] == [0.0, 0.12]
    assert source.frames_lost == 2
    assert source.warnings == [
        f"cannot read {tmp_path / '1.png'}: it is damaged or not an image: replace or remove it",
        f"cannot read {tmp_path / '2.png'}: it is empty (0 bytes): replace or remove it",
    ]


def test_loop_and_max_frames(tmp_path: Path) -> None:
    save(tmp_path / "1.png", 1)
    save(tmp_path / "2.png", 2)

    source = open_source(str(tmp_path), loop=True, max_frames=5)

    assert source.info.frame_count == 5
    frames = read_all(source)
    assert greys(frames) == [1, 2, 1, 2, 1]
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert greys(read_all(open_source(str(tmp_path), max_frames=1))) == [1]


def test_loop_ends_when_the_images_vanish(tmp_path: Path) -> None:
    path = save(tmp_path / "1.png", 1)
    source = open_source(str(path), loop=True)
    assert source.read() is not None
    path.unlink()
    assert source.read() is None


class TestRefusals:
    def refused(self, spec: object) -> str:
        with pytest.raises(SourceError) as caught:
            open_source(str(spec))
        return str(caught.value)

    def test_folder_without_images(self, tmp_path: Path) -> None:
        assert self.refused(tmp_path) == (
            f"no images in the folder {tmp_path}: give a folder that holds .png or .jpg files"
        )

    def test_folder_of_videos(self, tmp_path: Path) -> None:
        (tmp_path / "b.mp4").touch()
        (tmp_path / "a.MP4").touch()
        assert self.refused(tmp_path) == (
            f"no images in the folder {tmp_path}: it holds videos: give one of them, for example "
            f'spec="{tmp_path}/a.MP4"'
        )

    def test_single_image_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "broken.png"
        path.write_bytes(b"no image")
        assert (
            self.refused(path)
            == f"cannot read {path}: it is damaged or not an image: replace or remove it"
        )

    def test_all_images_damaged(self, tmp_path: Path) -> None:
        for name in ("1.png", "2.png"):
            (tmp_path / name).write_bytes(b"no image")
        assert self.refused(tmp_path) == (
            f"none of the 2 images in {tmp_path} can be read; the first: "
            f"cannot read {tmp_path / '1.png'}: it is damaged or not an image: replace or remove it"
        )


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.99])
def test_a_picture_that_was_cut_off_is_lost_and_named(
    tmp_path: Path, suffix: str, keep: float
) -> None:
    save(tmp_path / "a.png", 1)
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    data = cv2.imencode(suffix, noise)[1].tobytes()
    path = tmp_path / f"b{suffix}"
    path.write_bytes(data[: int(len(data) * keep)])

    source = open_source(str(tmp_path))
    assert greys(read_all(source)) == [1]
    assert source.frames_lost == 1
    assert source.warnings == [f"cannot read {path}: it was cut off: copy it again"]


def test_a_whole_picture_may_have_something_behind_its_end(tmp_path: Path) -> None:
    for suffix in (".jpg", ".png"):
        path = save(tmp_path / f"a{suffix}", 40)
        path.write_bytes(path.read_bytes() + b"\0" * 5000)
        assert greys(read_all(open_source(str(path)))) == [40]


def test_rate_of_images_can_be_given(tmp_path: Path) -> None:
    for i in range(3):
        save(tmp_path / f"{i}.png", i)
    source = open_source(str(tmp_path), fps=Fraction(10))
    assert [f.time_s for f in read_all(source)] == [0.0, 0.1, 0.2]
    assert (source.info.rate, source.info.time_base) == (10, Fraction(1, 10))


def test_frames_carry_the_names_of_their_pictures(tmp_path: Path) -> None:
    save(tmp_path / "Cam.1.jpg", 1)
    (tmp_path / "b.png").write_bytes(b"broken")
    save(tmp_path / "c.PNG", 3)
    source = open_source(str(tmp_path))
    assert [f.name for f in read_all(source)] == ["c", "Cam.1"]
    assert dict(source.info.names) == {
        str(tmp_path / "Cam.1.jpg"): "Cam.1",
        str(tmp_path / "b.png"): "b",
        str(tmp_path / "c.PNG"): "c",
    }


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["a.jpg", "b.jpg"], ["a", "b"]),
        (["a.jpg", "a.png", "a.bmp"], ["a", "a-2", "a-3"]),
        (["x/1.png", "y/1.png"], ["1", "1-2"]),
        (["a.jpg", "A.jpg", "a.JPG"], ["a", "A-2", "a-3"]),
        (["a.jpg", "a.png", "a-2.png"], ["a", "a-3", "a-2"]),
        (["a-2.jpg", "a.jpg", "a.png", "a-2.png"], ["a-2", "a", "a-3", "a-2-2"]),
        (["\u00e9.jpg", "e\u0301.png"], ["\u00e9", "e\u0301-2"]),
        (["stra\u00dfe.jpg", "STRASSE.png"], ["stra\u00dfe", "STRASSE-2"]),
    ],
)
def test_results_never_share_a_name(paths: list[str], expected: list[str]) -> None:
    assert result_names([Path(p) for p in paths]) == expected


@pytest.mark.parametrize(("letter", "size"), [("x", 1), ("\u00e9", 2)])
def test_numbers_make_no_name_longer_than_files_may_have(letter: str, size: int) -> None:
    stem = letter * (251 // size)
    names = result_names([Path(stem + suffix) for suffix in (".jpg", ".png", ".bmp")])
    assert names[0] == stem
    assert [name[-2:] for name in names[1:]] == ["-2", "-3"]
    assert all(len(os.fsencode(f"{name}.png")) <= 255 for name in names)
