from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.road import Area, Corridor, IgnoreMask, parse_points

HALF = [(0.0, 0.5), (1.0, 0.5), (1.0, 1.0), (0.0, 1.0)]


def test_a_pixel_belongs_when_its_centre_lies_inside() -> None:
    triangle = Area("t", [(0, 0), (1, 1), (0, 1)]).mask((10, 10)) > 0
    y, x = np.mgrid[0:10, 0:10]
    off_the_edge = x != y
    assert (triangle == (x < y))[off_the_edge].all()


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (7, 1), (31, 17), (352, 480)])
def test_neighbours_share_no_pixel_and_leave_none(size_hw: tuple[int, int]) -> None:
    cut = [(0.3, 0.0), (0.61, 1.0)]
    left = Area("l", [(0, 0), cut[0], cut[1], (0, 1)]).mask(size_hw)
    right = Area("r", [cut[0], (1, 0), (1, 1), cut[1]]).mask(size_hw)
    assert ((left > 0) ^ (right > 0)).all()


def test_area_that_sticks_out_is_cut_off() -> None:
    assert (Area("a", [(-1, -1), (2, -1), (2, 2), (-1, 2)]).mask((4, 5)) == 255).all()


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([(0, 0), (1, 1)], "has 2 corners"),
        ([(1.1, 0), (2, 0), (2, 1)], "outside the picture"),
        ([(0.5, 0.5), (0.5, 0.5), (0.5, 0.5)], "outside the picture"),
        ([(0, 0), (float("nan"), 0), (1, 1)], "use fractions"),
        ([(0, 0), (480, 0), (480, 360)], "use fractions"),
    ],
)
def test_area_without_room_is_refused(points: list[tuple[float, float]], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Area("lane", points)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0 1", "corner 2 is '1': write X,Y"),
        ("0,0 a,b", "corner 2 is 'a,b'"),
        ("0,0 100,0 100,50", "are pixels, and the picture's size is unknown"),
    ],
)
def test_corners_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_points(text)


def test_ignore_mask_from_a_png(tmp_path: Path) -> None:
    picture = np.zeros((4, 6), np.uint8)
    picture[3] = 255
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    mask = IgnoreMask.from_png(tmp_path / "mask.png")
    assert (mask.counts((4, 6)) == np.where(picture, 0, 255)).all()
    assert mask.share == 0.25


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparent_pixels_of_a_png_count(
    tmp_path: Path, dtype: type[np.uint8] | type[np.uint16]
) -> None:
    top = np.iinfo(dtype).max
    picture = np.full((2, 2, 4), top, dtype)
    picture[0, :, 3] = 0
    cv2.imwrite(str(tmp_path / "mask.png"), picture)
    counts = IgnoreMask.from_png(tmp_path / "mask.png").counts((2, 2))
    assert counts.tolist() == [[255, 255], [0, 0]]


def test_ignore_mask_that_is_no_picture(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the ignore mask"):
        IgnoreMask.from_png(tmp_path / "none.png")
    for content in (b"", b"words"):
        (tmp_path / "bad.png").write_bytes(content)
        with pytest.raises(UsageError, match=r"bad\.png is not a picture"):
            IgnoreMask.from_png(tmp_path / "bad.png")


def test_everything_ignored_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "white.png"), np.full((5, 5), 255, np.uint8))
    with pytest.raises(UsageError, match="leaves nothing of the picture"):
        IgnoreMask.from_png(tmp_path / "white.png")
    with pytest.raises(UsageError, match="leaves nothing of the picture"):
        IgnoreMask.from_polygons([[(-1, -1), (2, -1), (2, 2), (-1, 2)]])


def test_nothing_left_at_a_small_size_is_refused() -> None:
    mask = IgnoreMask(np.array([[True, True, False]]))
    with pytest.raises(UsageError, match="nothing of a 1x1 label map"):
        mask.counts((1, 1))


def test_mask_of_another_size_is_scaled_and_said() -> None:
    ignored = np.zeros((720, 1280), bool)
    ignored[360:] = True
    mask = IgnoreMask(ignored)
    assert (mask.counts((36, 64))[:18] == 255).all()
    assert (mask.counts((36, 64))[18:] == 0).all()
    assert mask.note((720, 1280)) is None
    assert mask.note((360, 640)) == (
        "the ignore mask is 1280x720 and the picture 640x360: it is scaled"
    )
    assert str(mask.note((480, 640))).endswith("it is scaled, and its shape with it")


def test_polygons_fit_every_size() -> None:
    mask = IgnoreMask.from_polygons([HALF])
    assert mask.note((123, 456)) is None
    for height in (2, 10, 352):
        assert (mask.counts((height, 3))[: height // 2] == 255).all()
        assert (mask.counts((height, 3))[height // 2 :] == 0).all()


def test_corners_a_little_outside_of_the_picture_are_no_pixels() -> None:
    points = parse_points("-0.3,1.2 0.5,0.4 1.3,1.2", picture_hw=(240, 320))
    assert points == [(-0.3, 1.2), (0.5, 0.4), (1.3, 1.2)]
    assert Corridor(points).mask((10, 10))[-1].all()
