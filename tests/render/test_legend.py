from __future__ import annotations

import cv2
import numpy as np
import pytest

from roadseg.core.labels import PALETTES, SUNRGBD, palette_bgr
from roadseg.render import legend as legend_module
from roadseg.render.legend import Legend
from roadseg.render.panel import capital_px


def drawn(hw: tuple[int, int], palette: str = "camvid", grey: int = 119) -> np.ndarray:
    image_bgr = np.full((*hw, 3), grey, np.uint8)
    Legend(palette_bgr(palette)).draw(image_bgr)
    return image_bgr


@pytest.mark.parametrize("hw", [(360, 480), (540, 960), (1080, 1920), (2160, 3840)])
@pytest.mark.parametrize("palette", sorted(PALETTES))
def test_every_class_has_a_swatch_of_exactly_its_colour(hw: tuple[int, int], palette: str) -> None:
    image_bgr = drawn(hw, palette)[: hw[0] // 3]
    square = np.ones((round(capital_px(hw) * 1.1),) * 2, np.uint8)
    for colour in palette_bgr(palette)[:11]:
        # Text may hold a few pixels of a light colour by chance, but no whole square.
        exact = cv2.inRange(image_bgr, colour, colour)
        assert cv2.erode(exact, square, borderType=cv2.BORDER_CONSTANT, borderValue=0).any()


def test_swatches_stand_in_class_order_in_two_columns() -> None:
    image_bgr = drawn((360, 480))
    corners = []
    for colour in palette_bgr("camvid")[:11]:
        rows, columns = np.nonzero((image_bgr == colour).all(axis=2))
        corners.append((int(columns.min()), int(rows.min())))
    left, right = corners[:6], corners[6:]
    assert len({x for x, _ in left}) == 1
    assert len({x for x, _ in right}) == 1
    assert left[0][0] < right[0][0]
    assert [y for _, y in left] == sorted(y for _, y in left)
    assert [y for _, y in right] == [y for _, y in left][:5]


@pytest.mark.parametrize("hw", [(360, 480), (540, 960), (1080, 1920), (2160, 3840), (1920, 1080)])
def test_legend_keeps_to_the_upper_right(hw: tuple[int, int]) -> None:
    rows, columns = np.nonzero((drawn(hw) != 119).any(axis=2))
    margin = capital_px(hw)
    assert rows.min() >= margin
    assert rows.max() < 0.3 * hw[0]
    assert columns.max() < hw[1] - margin
    assert columns.min() > 0.5 * hw[1]


def test_text_is_readable_on_any_background() -> None:
    for grey in (0, 119, 255):
        image_bgr = drawn((360, 480), grey=grey).astype(int)
        margin = capital_px((360, 480))
        panel = image_bgr[margin : margin + 90, 480 - margin - 150 : 480 - margin, :].mean(axis=2)
        background, text = np.median(panel), np.percentile(panel, 98)
        assert text - background > 80


@pytest.mark.parametrize("hw", [(1, 1), (40, 480), (360, 100), (80, 120)])
def test_a_frame_that_is_too_small_is_left_alone(hw: tuple[int, int]) -> None:
    assert (drawn(hw) == 119).all()


def where(hw: tuple[int, int], taken_hw: tuple[int, int]) -> list[int] | None:
    """Left, top, right and bottom of the legend."""
    image_bgr = np.full((*hw, 3), 119, np.uint8)
    Legend(palette_bgr("camvid")).draw(image_bgr, taken_hw)
    rows, columns = np.nonzero((image_bgr != 119).any(axis=2))
    if not len(rows):
        return None
    return [int(v) for v in (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)]


def test_it_stands_below_what_is_taken_where_both_would_close_the_width() -> None:
    left, top, right, bottom = where((360, 480), (42, 131)) or []
    assert (left, top) == (8, 42 + 4)
    assert right < 480 * 0.36
    assert bottom < 360 * 0.42
    beside = where((540, 960), (58, 186)) or []
    assert beside[2] == 960 - 11
    assert beside[1] == 11


def test_it_gives_way_when_there_is_no_room() -> None:
    assert where((360, 480), (300, 400)) is None
    # Too tall to stand below, and yet the width is free.
    assert (where((200, 640), (150, 200)) or [])[2] == 640 - 8


def test_the_bitmap_is_built_once_per_size(monkeypatch: pytest.MonkeyPatch) -> None:
    built: list[int] = []
    original = legend_module._build

    def counting(palette: np.ndarray, names: tuple[str, ...], capital: int, slot: int) -> object:
        built.append(capital)
        return original(palette, names, capital, slot)

    monkeypatch.setattr(legend_module, "_build", counting)
    legend = Legend(palette_bgr("camvid"))
    for hw in ((360, 480), (360, 480), (540, 960), (540, 960)):
        legend.draw(np.zeros((*hw, 3), np.uint8))
    assert built == [8, 11]


@pytest.mark.parametrize(
    ("hw", "expected"),
    [
        ((1, 1), 8),
        ((360, 480), 8),
        ((360, 640), 9),
        ((540, 960), 11),
        ((720, 1280), 12),
        ((1080, 1920), 18),
        ((2160, 3840), 36),
    ],
)
def test_letters_grow_with_the_picture(hw: tuple[int, int], expected: int) -> None:
    assert capital_px(hw) == expected


@pytest.mark.parametrize("hw", [(530, 730), (1080, 1920)])
def test_many_classes_stand_in_more_columns(hw: tuple[int, int]) -> None:
    image_bgr = np.full((*hw, 3), 119, np.uint8)
    Legend(SUNRGBD.palette_bgr, SUNRGBD.names).draw(image_bgr)
    # Letters, and swatches with them, shrink where so many names have little room.
    square = np.ones((9, 9), np.uint8)
    lefts = []
    for colour in SUNRGBD.palette_bgr[:37]:
        exact = cv2.inRange(image_bgr, colour, colour)
        whole = cv2.erode(exact, square, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        assert whole.any()
        lefts.append(int(np.nonzero(whole)[1].min()))
    assert [lefts.count(x) for x in sorted(set(lefts))] == [13, 13, 11]


def with_shares(hw: tuple[int, int], shares: tuple[float, ...], taken_w: int = 0) -> np.ndarray:
    image_bgr = np.full((*hw, 3), 119, np.uint8)
    Legend(palette_bgr("camvid")).draw(image_bgr, (taken_w // 2, taken_w), shares)
    return image_bgr


@pytest.mark.parametrize("hw", [(360, 480), (540, 960), (1080, 1920)])
def test_shares_stand_behind_the_names_and_nothing_moves_when_they_change(
    hw: tuple[int, int],
) -> None:
    plain = np.nonzero((drawn(hw) != 119).any(axis=2))
    few, many = (with_shares(hw, (share,) * 12) for share in (0.01, 1.0))
    boxes = []
    for picture in (few, many):
        rows, columns = np.nonzero((picture != 119).any(axis=2))
        boxes.append((rows.min(), rows.max(), columns.min(), columns.max()))
    assert boxes[0] == boxes[1]
    assert boxes[0][:2] == (plain[0].min(), plain[0].max())
    assert boxes[0][2] < plain[1].min()
    changed = np.nonzero((few != many).any(axis=2))[1]
    assert changed.size
    assert (few != with_shares(hw, (float("nan"),) * 12)).any()


def test_without_room_for_shares_the_legend_has_none() -> None:
    hw, taken_w = (240, 320), 130
    plain = with_shares(hw, (), taken_w)
    assert (plain != 119).any()
    np.testing.assert_array_equal(with_shares(hw, (0.5,) * 11, taken_w), plain)
