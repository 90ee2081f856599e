"""Lines over the road are where they belong, can be seen, and stay out of everything else."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from roadseg.core.planes import Colours, Planes
from roadseg.core.types import Image
from roadseg.render import VIEWS, Guides, Renderer
from tests.render.test_planar import WORST, some_labels
from tests.support.planes import ALL_COLOURS, natural

HW = (540, 960)
LANE = ((0.2, 1.0), (0.45, 0.55), (0.55, 0.55), (0.8, 0.9999))
BEYOND = ((2.0, 1.0), (2.1, 1.0), (2.1, 1.1))
"""A corridor of which nothing is in the picture."""


def level(share: float, corridor: tuple[tuple[float, float], ...] = BEYOND) -> Guides:
    """Free space that ends at this share of the height everywhere."""
    return Guides(np.full(192, share), corridor)


def drawn(guides: Guides | None, grey: int = 90, size_hw: tuple[int, int] = HW) -> Image:
    """The lines alone, on a grey frame without colours."""
    render = Renderer(alpha=0.0, legend=False)
    return render(np.full((*size_hw, 3), grey, np.uint8), some_labels(size_hw), guides=guides)


def centres(bright: npt.NDArray[np.uint8], grey: int) -> npt.NDArray[np.float64]:
    """Of the light in each column, in rows from the upper edge on."""
    weights = np.maximum(bright.astype(float) - grey, 0)
    rows = np.arange(len(bright)) + 0.5
    return np.asarray((weights * rows[:, None]).sum(axis=0) / weights.sum(axis=0))


@pytest.mark.parametrize("size_hw", [(540, 960), (360, 480), (1080, 1920), (722, 402)])
@pytest.mark.parametrize("share", [0.3, 0.51, 0.75, 0.9])
def test_the_line_is_where_the_free_space_ends(size_hw: tuple[int, int], share: float) -> None:
    picture = drawn(level(share), size_hw=size_hw)
    found = centres(picture[:, 5:-5, 0], 90)
    assert np.abs(found - share * size_hw[0]).max() <= 0.6
    planes = Planes.of_bgr(np.full((*size_hw, 3), 90, np.uint8))
    render = Renderer(alpha=0.0, legend=False)
    in_planes = render(planes, some_labels(size_hw), guides=level(share))
    found = centres(in_planes.y[:, 5:-5], int(planes.y[0, 0]))
    assert np.abs(found - share * size_hw[0]).max() <= 0.6


def test_each_part_of_the_width_has_its_own_height() -> None:
    free = np.repeat([0.6, 0.8, 0.7], 64)
    found = centres(drawn(Guides(free, BEYOND))[..., 0], 90)
    for third, share in enumerate((0.6, 0.8, 0.7)):
        inside = found[third * 320 + 10 : third * 320 + 310]
        assert np.abs(inside - share * HW[0]).max() <= 0.6


@pytest.mark.parametrize("grey", [0, 60, 128, 200, 255])
def test_it_can_be_seen_on_dark_and_light_pictures(grey: int) -> None:
    column = drawn(level(0.5), grey)[260:280, 400, 0].astype(int)
    assert column.max() - column.min() >= 120
    assert column.max() >= 150
    assert column.min() <= max(grey, 20)


@pytest.mark.parametrize("end", [0.0, 1.0])
def test_where_the_free_space_does_not_end_in_the_picture_there_is_no_line(end: float) -> None:
    np.testing.assert_array_equal(drawn(level(end)), drawn(None))
    free = np.full(192, 0.6)
    free[48:96] = end
    picture = drawn(Guides(free, BEYOND))
    assert (picture[:, 250:470] == 90).all()
    assert (picture[:, 20:220] != 90).any(axis=0).all()
    assert (picture[:, 500:940] != 90).any(axis=0).all()


def test_the_corridor_has_an_outline_but_for_the_pictures_own_edge() -> None:
    picture = drawn(level(0.0, LANE))
    for x, y in [(0.325, 0.775), (0.5, 0.55), (0.675, 0.775)]:
        row, column = round(y * HW[0]), round(x * HW[1])
        near = picture[row - 2 : row + 2, column - 2 : column + 2]
        assert near.max() >= 130
    assert (picture[-1, 220:740] == 90).all()
    assert (picture[:290] == 90).all()


def test_a_corridor_far_outside_of_the_picture_is_cut_off() -> None:
    far = ((-100.0, 100.0), (-100.0, 0.75), (100.0, 0.75), (100.0, 100.0))
    picture = drawn(level(0.0, far))
    assert np.abs(np.flatnonzero((picture != 90).any(axis=(1, 2))) - 404.5).max() <= 3


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size_hw", [(360, 480), (540, 960), (1080, 1920)])
def test_in_planes_it_is_the_picture_in_bgr(
    colours: Colours, view: str, size_hw: tuple[int, int]
) -> None:
    image_bgr, label_map = natural(size_hw), some_labels(size_hw)
    guides = Guides(0.65 + 0.1 * np.sin(np.arange(160) / 20), LANE)
    render = Renderer(view=view, legend=False)
    in_planes = render(Planes.of_bgr(image_bgr, colours), label_map, guides=guides)
    in_bgr = Planes.of_bgr(render(image_bgr, label_map, guides=guides), colours)
    assert np.abs(in_planes.y.astype(int) - in_bgr.y).max() <= 4
    # Colours are without a tint there, and halved in another order at the lines' edges alone.
    plain = Planes.of_bgr(render(image_bgr, label_map), colours)
    lines = cv2.dilate((in_bgr.y != plain.y).astype(np.uint8), np.ones((5, 5), np.uint8))
    for name, plane in (("u", in_planes.u), ("v", in_planes.v)):
        off = np.abs(plane.astype(int) - getattr(in_bgr, name)) > WORST
        assert not (off & (lines[::2, ::2] == 0)).any()
        assert off.mean() < 0.02


@pytest.mark.parametrize("view", ["mask", "doubt"])
def test_views_without_an_overlay_have_no_lines(view: str) -> None:
    render, frame = Renderer(view=view), natural(HW)
    plain = render(frame, some_labels(HW))
    np.testing.assert_array_equal(render(frame, some_labels(HW), guides=level(0.6, LANE)), plain)


def test_beside_the_overlay_the_frame_stays_as_it_is() -> None:
    frame, guides = natural(HW), level(0.6, LANE)
    both = Renderer(view="side-by-side", legend=False)(frame, some_labels(HW), guides=guides)
    alone = Renderer(legend=False)(frame, some_labels(HW), guides=guides)
    np.testing.assert_array_equal(both[:, : HW[1]], frame)
    np.testing.assert_array_equal(both[:, HW[1] :], alone)
    planes = Planes.of_bgr(frame)
    in_planes = Renderer(view="side-by-side", legend=False)(planes, some_labels(HW), guides=guides)
    for name in "yuv":
        left, right = np.split(getattr(in_planes, name), 2, axis=1)
        np.testing.assert_array_equal(left, getattr(planes, name))
        assert (right != left).any()


def test_without_a_display_there_are_no_lines() -> None:
    render, frame = Renderer(hud=False), natural(HW)
    plain = render(frame, some_labels(HW))
    np.testing.assert_array_equal(render(frame, some_labels(HW), guides=level(0.6, LANE)), plain)


def test_what_is_left_out_keeps_the_frame() -> None:
    frame, left_out = natural(HW), np.zeros(HW, np.uint8)
    left_out[300:, :500] = 255
    render, guides = Renderer(alpha=0.0, legend=False), level(0.6, LANE)
    picture = render(frame, some_labels(HW), None, left_out, guides=guides)
    np.testing.assert_array_equal(picture[left_out > 0], frame[left_out > 0])
    assert (picture[320:328, 600] != frame[320:328, 600]).any()


@pytest.mark.parametrize("size_hw", [(2, 2), (2, 500), (500, 2), (38, 54)])
@pytest.mark.parametrize("parts", [1, 2, 160])
def test_any_size(size_hw: tuple[int, int], parts: int) -> None:
    frame, label_map = natural(size_hw), some_labels(size_hw)
    guides = Guides(np.linspace(0.2, 1.0, parts), LANE)
    before = frame.copy()
    assert Renderer()(frame, label_map, guides=guides).shape == frame.shape
    np.testing.assert_array_equal(frame, before)
    assert Renderer()(Planes.of_bgr(frame), label_map, guides=guides).size_hw == size_hw
