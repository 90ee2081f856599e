"""A picture drawn in planes is the one drawn in BGR, taken apart."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import PALETTES
from roadseg.core.planes import BT601, Colours, Planes
from roadseg.core.types import Labels
from roadseg.render import VIEWS, HudLine, HudStats, Renderer
from roadseg.render.panel import Panel
from tests.support.planes import ALL_COLOURS, natural

STATS = HudStats(fps=37.24, latency_ms=26.93, dropped=3, backend="openvino")

# Levels of 255: the mean of all pixels and the worst of a thousand. Chroma of panels is halved
# before it is blended, where in BGR it is blended first; that shows in letters alone.
MEAN, WORST = 0.6, 6


def some_labels(source_hw: tuple[int, int], network_hw: tuple[int, int] = (64, 96)) -> LabelMap:
    """Areas as large as those of roads."""
    rows, columns = np.mgrid[0 : network_hw[0], 0 : network_hw[1]]
    ids: Labels = ((rows // 16) * 3 + columns // 24).astype(np.uint8) % 11
    return LabelMap(ids, Geometry(source_hw, network_hw))


def check_same(planes: Planes, expected: Planes, mean: float = MEAN, worst: float = WORST) -> None:
    assert planes.colours == expected.colours
    for name in "yuv":
        difference = np.abs(getattr(planes, name).astype(int) - getattr(expected, name))
        assert difference.mean() < mean, name
        assert np.quantile(difference, 0.999) <= worst, name


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("panels", [False, True])
@pytest.mark.parametrize("size_hw", [(360, 480), (540, 960)])
def test_a_picture_in_planes_is_the_one_in_bgr(
    colours: Colours, view: str, panels: bool, size_hw: tuple[int, int]
) -> None:
    image_bgr, label_map = natural(size_hw), some_labels(size_hw)
    render = Renderer(view=view, legend=panels, hud=panels)
    drawn = render(Planes.of_bgr(image_bgr, colours), label_map, STATS)
    check_same(drawn, Planes.of_bgr(render(image_bgr, label_map, STATS), colours))


@pytest.mark.parametrize("palette", sorted(PALETTES))
@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_with_every_palette_and_opacity(palette: str, alpha: float) -> None:
    size_hw = (180, 320)
    image_bgr, label_map = natural(size_hw), some_labels(size_hw)
    render = Renderer(palette, alpha=alpha, hud=False)
    drawn = render(Planes.of_bgr(image_bgr), label_map)
    check_same(drawn, Planes.of_bgr(render(image_bgr, label_map)))


def test_without_opacity_the_frame_comes_out_to_the_bit() -> None:
    frame = Planes.of_bgr(natural((360, 480)), Colours("bt709"))
    drawn = Renderer(alpha=0.0, legend=False)(frame, some_labels((360, 480)))
    np.testing.assert_array_equal(drawn.packed, frame.packed)


@pytest.mark.parametrize("colours", ALL_COLOURS, ids=str)
@pytest.mark.parametrize("colour", [(0, 0, 255), (255, 0, 0), (0, 255, 0), (255, 255, 255)])
def test_swatches_keep_pure_colours(colours: Colours, colour: tuple[int, int, int]) -> None:
    """The chroma of pure red and blue is 255.5 in full range, above what a byte holds."""
    panel = Panel((60, 80), 0.72, 6)
    panel.swatch(20, 20, 24, colour)
    frame = Planes.of_bgr(np.full((100, 120, 3), 119, np.uint8), colours)
    panel.blend_into(frame, 10, 10)
    shown = frame.bgr[34:50, 34:50].reshape(-1, 3)
    np.testing.assert_allclose(shown, np.broadcast_to(colour, shown.shape), atol=3)


@pytest.mark.parametrize("size_hw", [(362, 486), (366, 482), (394, 526), (722, 1282)])
@pytest.mark.parametrize("view", VIEWS)
def test_panels_at_odd_places(size_hw: tuple[int, int], view: str) -> None:
    """Their margins are odd in some pictures, and their sides are odd."""
    image_bgr, label_map = natural(size_hw), some_labels(size_hw)
    render = Renderer(view=view)
    stats = HudStats(7.3, 912.0, 0, "fake", lines=(HudLine("road", "41%", "road", "100%"),))
    drawn = render(Planes.of_bgr(image_bgr), label_map, stats)
    check_same(drawn, Planes.of_bgr(render(image_bgr, label_map, stats)))


def test_grey_panels_on_grey_pictures_have_no_tint() -> None:
    frame = Planes.of_bgr(np.full((360, 480, 3), 90, np.uint8))
    stats = HudStats(37.2, 26.9, 0, "openvino")  # dropped frames would be orange
    drawn = Renderer(alpha=0.0, legend=False)(frame, some_labels((360, 480)), stats)
    # The panels' own background is (22, 18, 16), blue by a level or two.
    assert np.abs(drawn.u.astype(int) - 128).max() <= 2
    assert np.abs(drawn.v.astype(int) - 128).max() <= 2
    assert (drawn.y[:100] != frame.y[:100]).any()
    np.testing.assert_array_equal(drawn.y[150:], frame.y[150:])
    np.testing.assert_array_equal(drawn.u[75:], frame.u[75:])


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size_hw", [(2, 2), (2, 500), (500, 2), (38, 54)])
def test_any_even_size(view: str, size_hw: tuple[int, int]) -> None:
    image_bgr, label_map = natural(size_hw), some_labels(size_hw)
    drawn = Renderer(view=view)(Planes.of_bgr(image_bgr), label_map, STATS)
    expected = Renderer(view=view)(image_bgr, label_map, STATS)
    assert drawn.size_hw == expected.shape[:2]


def test_a_network_of_the_pictures_own_size() -> None:
    size_hw = (64, 96)
    image_bgr, label_map = natural(size_hw), some_labels(size_hw)
    render = Renderer(legend=False)
    drawn = render(Planes.of_bgr(image_bgr), label_map)
    check_same(drawn, Planes.of_bgr(render(image_bgr, label_map)), worst=2)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("what", ["void", "left out"])
def test_what_has_no_colour_is_as_in_bgr(view: str, what: str) -> None:
    size_hw = (180, 320)
    label_map, left_out = some_labels(size_hw), None
    if what == "void":
        label_map.network_ids[:20] = 11
    else:
        left_out = np.zeros(size_hw, np.uint8)
        left_out[120:] = 255
    frame = Planes.of_bgr(natural(size_hw), Colours("bt709"))
    render = Renderer(view=view)
    expected = render(frame.bgr, label_map, None, left_out)
    drawn = render(frame, label_map, None, left_out)
    np.testing.assert_array_equal(drawn.packed, Planes.of_bgr(expected, frame.colours).packed)


@pytest.mark.parametrize("view", VIEWS)
def test_the_frame_is_not_written_to_and_pictures_are_new(view: str) -> None:
    frame = Planes.of_bgr(natural((360, 480)))
    before, label_map = frame.packed.copy(), some_labels((360, 480))
    render = Renderer(view=view)
    first = render(frame, label_map, STATS)
    kept = first.packed.copy()
    second = render(frame, some_labels((360, 480), (32, 64)), STATS)
    np.testing.assert_array_equal(frame.packed, before)
    np.testing.assert_array_equal(first.packed, kept)
    assert not np.shares_memory(first.packed, second.packed)


def test_one_renderer_takes_both_kinds_in_turns() -> None:
    image_bgr, label_map = natural((360, 480)), some_labels((360, 480))
    render = Renderer()
    for picture in (image_bgr, Planes.of_bgr(image_bgr), Planes.of_bgr(image_bgr, BT601)):
        drawn = render(picture, label_map, STATS)
        fresh = Renderer()(picture, label_map, STATS)
        if isinstance(drawn, Planes) and isinstance(fresh, Planes):
            drawn, fresh = drawn.packed, fresh.packed
        np.testing.assert_array_equal(drawn, fresh)


def test_labels_of_another_frame_are_refused() -> None:
    with pytest.raises(ValueError, match="expected labels of a 480x360 frame, got those of 64x48"):
        Renderer()(Planes.of_bgr(natural((360, 480))), some_labels((48, 64)))
