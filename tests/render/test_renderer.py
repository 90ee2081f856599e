from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import DEFAULT_PALETTE, PALETTES, ClassSet, palette_bgr
from roadseg.core.types import Image
from roadseg.render import VIEWS, HudStats, Renderer, output_hw

STATS = HudStats(fps=37.24, latency_ms=26.93, dropped=0, backend="openvino")


def uniform(hw: tuple[int, int], colour: tuple[int, int, int] = (100, 150, 200)) -> Image:
    return np.full((*hw, 3), colour, np.uint8)


def labels_of(
    class_id: int, source_hw: tuple[int, int], network_hw: tuple[int, int] = (32, 64)
) -> LabelMap:
    return LabelMap(np.full(network_hw, class_id, np.uint8), Geometry(source_hw, network_hw))


def full(**options: object) -> Renderer:
    # The colours that the numbers below are worked out for.
    return Renderer(**{"palette": "camvid", **options})  # type: ignore[arg-type]


def plain(**options: object) -> Renderer:
    return full(legend=False, hud=False, **options)


# Road is BGR 128, 64, 128 in the CamVid palette; the frame is 100, 150, 200.
@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        (0.0, [100, 150, 200]),
        (0.25, [107, 128, 182]),  # 107, 128.5, 182: halves may go either way
        (0.5, [114, 107, 164]),
        (1.0, [128, 64, 128]),
    ],
)
def test_overlay_blends_by_alpha(alpha: float, expected: list[int]) -> None:
    picture = plain(alpha=alpha)(uniform((50, 70)), labels_of(3, (50, 70)))
    assert picture.shape == (50, 70, 3)
    assert picture.dtype == np.uint8
    assert (picture == picture[0, 0]).all()
    np.testing.assert_allclose(picture[0, 0].astype(int), expected, atol=alpha == 0.25)


@pytest.mark.parametrize("name", sorted(PALETTES))
def test_overlay_uses_the_palette(name: str) -> None:
    for class_id in range(11):
        picture = plain(palette=name, alpha=1.0)(uniform((40, 40)), labels_of(class_id, (40, 40)))
        assert picture[20, 20].tolist() == palette_bgr(name)[class_id].tolist()


def test_overlay_puts_classes_where_they_are() -> None:
    ids = np.zeros((32, 64), np.uint8)
    ids[:, 32:] = 3
    label_map = LabelMap(ids, Geometry((64, 128), (32, 64)))
    picture = plain(alpha=1.0)(uniform((64, 128)), label_map)
    assert (picture[:, :61] == palette_bgr("camvid")[0]).all()
    assert (picture[:, 67:] == palette_bgr("camvid")[3]).all()
    # Between them colours run into each other, over less than three network pixels.
    between = picture[0, 61:67, 1].astype(int)
    assert (np.diff(between) <= 0).all()


def test_overlay_leaves_void_alone() -> None:
    ids = np.full((32, 64), 3, np.uint8)
    ids[:, 32:] = 11
    image_bgr = uniform((64, 128))
    picture = plain()(image_bgr, LabelMap(ids, Geometry((64, 128), (32, 64))))
    np.testing.assert_array_equal(picture[:, 67:], image_bgr[:, 67:])
    assert (picture[:, :61] == [114, 107, 164]).all()
    # The transition stays between the two: no dark seam.
    assert (np.diff(picture[0, 60:68, 1].astype(int)) >= 0).all()


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_left_out_keeps_the_frame_and_all_else_is_as_before(view: str) -> None:
    frame_bgr = uniform((50, 70))
    left_out = np.zeros((50, 70), np.uint8)
    left_out[40:] = 255
    coloured = plain(view=view)(frame_bgr, labels_of(3, (50, 70)))
    picture = plain(view=view)(frame_bgr, labels_of(3, (50, 70)), None, left_out)
    assert (picture[:40] == coloured[:40]).all()
    assert (picture[40:] == (0 if view == "mask" else frame_bgr[0, 0])).all()


@pytest.mark.parametrize("slope", [0.2, 0.35, 0.5, 0.7])
def test_outlines_are_smooth(slope: float) -> None:
    """A straight border between two classes is a stair of labels, and straight in the picture."""
    rows, columns = np.mgrid[0:60, 0:80] + 0.5
    ids = (columns < 20 + slope * rows).astype(np.uint8)
    classes = ClassSet("two", ("black", "white"), ((0, 0, 0), (255, 255, 255)))
    render = Renderer(alpha=1.0, legend=False, hud=False, classes=classes)
    image_bgr = uniform((240, 320))
    picture = render(image_bgr, LabelMap(ids, Geometry((240, 320), (60, 80))))
    # Four pixels of the picture are one label; light in a row is where the border is in it.
    border = picture[..., 0].astype(float).sum(axis=1) / 255
    away = border - (4 * 20 + slope * (np.arange(240) + 0.5))
    stairs = (ids.repeat(4, axis=0).sum(axis=1) * 4.0) - (80 + slope * (np.arange(240) + 0.5))
    inner = slice(12, -12)
    assert np.abs(stairs[inner]).max() > 1.2
    assert np.abs(away[inner]).max() < 1.25
    assert np.abs(np.diff(away[inner])).max() < 0.35, "no step from one line to the next"


def test_a_pole_of_one_label_stays_visible() -> None:
    ids = np.zeros((32, 64), np.uint8)
    ids[:, 20] = 2
    picture = plain(alpha=1.0)(uniform((96, 192)), LabelMap(ids, Geometry((96, 192), (32, 64))))
    sky, pole = (palette_bgr("camvid")[i].astype(int) for i in (0, 2))
    assert np.abs(picture[48, 61] - (sky + pole) / 2).max() <= 1


def test_overlay_with_void_agrees_with_overlay_without() -> None:
    rng = np.random.default_rng(0)
    image_bgr = rng.integers(0, 256, (90, 110, 3), dtype=np.uint8)
    ids = rng.integers(0, 11, (32, 64), dtype=np.uint8)
    geometry = Geometry((90, 110), (32, 64))
    with_void = ids.copy()
    with_void[0, 0] = 11
    one = plain(alpha=0.4)(image_bgr, LabelMap(ids, geometry))
    other = plain(alpha=0.4)(image_bgr, LabelMap(with_void, geometry))
    np.testing.assert_allclose(one[10:].astype(int), other[10:].astype(int), atol=1)


@pytest.mark.parametrize("source_hw", [(32, 64), (50, 70), (101, 33), (540, 960)])
def test_mask_shows_exact_colours_of_the_labels(source_hw: tuple[int, int]) -> None:
    ids = np.random.default_rng(1).integers(0, 12, (32, 64), dtype=np.uint8)
    label_map = LabelMap(ids, Geometry(source_hw, (32, 64)))
    picture = plain(view="mask")(uniform(source_hw), label_map)
    np.testing.assert_array_equal(picture, palette_bgr("camvid")[label_map.ids])


def test_side_by_side_is_the_frame_and_the_overlay() -> None:
    rng = np.random.default_rng(2)
    image_bgr = rng.integers(0, 256, (50, 71, 3), dtype=np.uint8)
    label_map = labels_of(8, (50, 71))
    picture = plain(view="side-by-side")(image_bgr, label_map)
    assert picture.shape == (50, 142, 3)
    np.testing.assert_array_equal(picture[:, :71], image_bgr)
    np.testing.assert_array_equal(picture[:, 71:], plain()(image_bgr, label_map))


@pytest.mark.parametrize(
    ("view", "expected"),
    [("overlay", (50, 71)), ("mask", (50, 71)), ("side-by-side", (50, 142))],
)
def test_output_hw_is_the_size_that_comes_out(view: str, expected: tuple[int, int]) -> None:
    assert output_hw(view, (50, 71)) == expected
    picture = Renderer(view=view)(uniform((50, 71)), labels_of(0, (50, 71)), STATS)
    assert picture.shape == (*expected, 3)


@pytest.mark.parametrize("view", VIEWS)
def test_the_frame_is_not_written_to_and_pictures_are_new(view: str) -> None:
    image_bgr = uniform((360, 480))
    before = image_bgr.copy()
    label_map = labels_of(3, (360, 480))
    render = Renderer(view=view)
    first = render(image_bgr, label_map, STATS)
    kept = first.copy()
    second = render(image_bgr, labels_of(5, (360, 480)), STATS)
    np.testing.assert_array_equal(image_bgr, before)
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    assert not np.shares_memory(first, image_bgr)


def test_network_labels_of_the_frames_own_size() -> None:
    picture = plain(alpha=1.0)(uniform((32, 64)), labels_of(5, (32, 64)))
    assert (picture == palette_bgr("camvid")[5]).all()


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("size_hw", [(1, 1), (1, 500), (500, 1), (37, 53), (719, 1281)])
def test_any_size_with_all_panels(view: str, size_hw: tuple[int, int]) -> None:
    picture = Renderer(view=view)(uniform(size_hw), labels_of(4, size_hw), STATS)
    assert picture.shape[:2] == output_hw(view, size_hw)


def test_8k_with_all_panels() -> None:
    size_hw = (4320, 7680)
    picture = full()(uniform(size_hw), labels_of(3, size_hw, (320, 576)), STATS)
    assert picture.shape == (4320, 7680, 3)
    assert picture[4000, 3000].tolist() == [114, 107, 164]


@pytest.mark.parametrize("view", VIEWS)
def test_one_renderer_follows_a_resolution_that_changes(view: str) -> None:
    render = Renderer(view=view)
    for size_hw in ((360, 480), (540, 960), (1, 1), (360, 480)):
        image_bgr, label_map = uniform(size_hw), labels_of(3, size_hw)
        np.testing.assert_array_equal(
            render(image_bgr, label_map, STATS),
            Renderer(view=view)(image_bgr, label_map, STATS),
        )


def test_frames_that_are_not_contiguous() -> None:
    image_bgr = np.random.default_rng(3).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    for part in (image_bgr[:, ::-1], image_bgr[::2], image_bgr[:, 10:50]):
        label_map = labels_of(2, part.shape[:2])
        for view in VIEWS:
            render = Renderer(view=view)
            np.testing.assert_array_equal(
                render(part, label_map), render(np.ascontiguousarray(part), label_map)
            )


@pytest.mark.parametrize("view", [view for view in VIEWS if view != "doubt"])
@pytest.mark.parametrize(
    ("size_hw", "width", "area"),
    [
        ((360, 480), 0.35, 0.1),
        ((360, 640), 0.35, 0.1),
        ((480, 640), 0.35, 0.1),
        ((540, 960), 0.42, 0.07),
        ((720, 1280), 0.36, 0.05),
        ((1080, 1920), 0.36, 0.05),
        ((2160, 3840), 0.36, 0.05),
        ((1920, 1080), 0.42, 0.05),
    ],
)
def test_panels_cover_little(
    view: str, size_hw: tuple[int, int], width: float, area: float
) -> None:
    image_bgr, label_map = uniform(size_hw), labels_of(3, size_hw)
    bare = plain(view=view)(image_bgr, label_map)
    panels = full(view=view)(image_bgr, label_map, STATS)
    changed = (bare != panels).any(axis=2)
    # With its text, a panel is all but a few pixels another colour than the picture.
    assert 0.005 * changed.size < changed.sum() < area * changed.size
    assert changed.any(axis=0).sum() < width * changed.shape[1]
    assert np.flatnonzero(changed.any(axis=1)).max() < 0.42 * size_hw[0]
    if view == "side-by-side":
        halves = (changed[:, : size_hw[1]], changed[:, size_hw[1] :])
        assert all(half.any() for half in halves), "the legend beside the colours, figures left"


def test_dropped_frames_and_a_long_name_do_not_cover_more() -> None:
    image_bgr, label_map = uniform((360, 480)), labels_of(3, (360, 480))
    stats = HudStats(fps=7.3, latency_ms=912.0, dropped=1234, backend="tensorrt-rtx")
    changed = (full()(image_bgr, label_map, stats) != plain()(image_bgr, label_map)).any(axis=2)
    assert changed.any(axis=0).sum() < 0.42 * 480


def test_panels_can_be_switched_off_one_by_one() -> None:
    # Wide enough for the legend to stand at the right, with the figures or without them.
    image_bgr, label_map = uniform((540, 960)), labels_of(3, (540, 960))
    bare = plain()(image_bgr, label_map, STATS)
    legend = full(hud=False)(image_bgr, label_map, STATS)
    hud = full(legend=False)(image_bgr, label_map, STATS)
    both = full()(image_bgr, label_map, STATS)
    assert (bare == [114, 107, 164]).all()
    assert (legend != bare).any()
    assert (hud != bare).any()
    assert not ((legend != bare).any(axis=2) & (hud != bare).any(axis=2)).any()
    np.testing.assert_array_equal(np.where(legend != bare, legend, hud), both)
    np.testing.assert_array_equal(full()(image_bgr, label_map, None), legend)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"view": "split"},
            'unknown view \'split\': use view="overlay"|"mask"|"side-by-side"|"doubt"',
        ),
        ({"alpha": 1.5}, "alpha 1.5 is outside 0..1: use for example alpha=0.5"),
        ({"alpha": -0.1}, "alpha -0.1 is outside 0..1: use for example alpha=0.5"),
        ({"alpha": float("nan")}, "alpha nan is outside 0..1: use for example alpha=0.5"),
        (
            {"palette": "neon"},
            'unknown palette \'neon\': use palette="street"|"colorblind"|"camvid"',
        ),
    ],
)
def test_options_that_name_nothing(options: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError) as error:
        Renderer(**options)  # type: ignore[arg-type]
    assert str(error.value) == message


def test_output_hw_of_an_unknown_view() -> None:
    with pytest.raises(UsageError, match=r'^unknown view .split.: use view="overlay"\|"mask"'):
        output_hw("split", (2, 2))


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((4, 6), np.uint8), r"\(4, 6\) uint8"),
        (np.zeros((4, 6, 4), np.uint8), r"\(4, 6, 4\) uint8"),
        (np.zeros((4, 6, 3), np.float32), r"\(4, 6, 3\) float32"),
    ],
)
def test_frames_of_another_kind(image: np.ndarray, got: str) -> None:
    with pytest.raises(ValueError, match=rf"^expected a \(H, W, 3\) uint8 BGR frame, got {got}$"):
        Renderer()(image, labels_of(0, (4, 6)))


def test_labels_of_another_frame() -> None:
    with pytest.raises(ValueError, match=r"^expected labels of a 6x4 frame, got those of 4x6$"):
        Renderer()(uniform((4, 6)), labels_of(0, (6, 4)))


def test_other_classes_have_their_own_colours_and_void() -> None:
    classes = ClassSet("farm", ("track", "field"), ((90, 60, 30), (60, 140, 40)))
    frame_bgr = np.full((4, 6, 3), 200, np.uint8)
    ids = np.repeat(np.array([[0, 1, 2]], np.uint8), 2, axis=1).repeat(4, axis=0)
    label_map = LabelMap(ids, Geometry((4, 6), (4, 6)))
    mask = Renderer(view="mask", classes=classes)(frame_bgr, label_map)
    assert mask[0, ::2].tolist() == [[30, 60, 90], [40, 140, 60], [0, 0, 0]]
    overlay = Renderer(alpha=1.0, classes=classes)(frame_bgr, label_map)
    assert overlay[0, ::2].tolist() == [[30, 60, 90], [40, 140, 60], [200, 200, 200]]
    for name in ("colorblind", "camvid"):
        with pytest.raises(UsageError, match="has colours for CamVid's classes only"):
            Renderer(name, classes=classes)


def test_people_see_the_default_palette() -> None:
    render = Renderer(alpha=1.0, legend=False, hud=False)
    picture = render(uniform((32, 64)), labels_of(9, (32, 64)))
    assert (picture == PALETTES[DEFAULT_PALETTE][9]).all()


def test_doubt_is_coloured_where_the_network_is_torn() -> None:
    image_bgr, label_map = uniform((40, 60)), labels_of(3, (40, 60))
    doubt = np.zeros((20, 30), np.float32)
    doubt[:, 15:] = 0.7
    picture = plain(view="doubt")(image_bgr, label_map, None, None, doubt)
    sure, torn = picture[:, :28].astype(int), picture[:, 32:].astype(int)
    assert (sure.max(axis=2) == sure.min(axis=2)).all(), "the frame in grey"
    assert (torn[..., 2] > torn[..., 0] + 80).all(), "red"
    unknown = plain(view="doubt")(image_bgr, label_map)
    np.testing.assert_array_equal(unknown[:, :28], picture[:, :28])


def test_doubt_shows_what_is_left_out_as_it_is() -> None:
    image_bgr, label_map = uniform((40, 60)), labels_of(3, (40, 60))
    left_out = np.zeros((40, 60), np.uint8)
    left_out[30:] = 255
    doubt = np.full((40, 60), 0.7, np.float32)
    picture = plain(view="doubt")(image_bgr, label_map, None, left_out, doubt)
    np.testing.assert_array_equal(picture[30:], image_bgr[30:])
    assert (picture[:30] != image_bgr[:30]).any(axis=2).all()
