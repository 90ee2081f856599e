from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.labels import ClassSet, distinct_colours
from roadseg.core.types import Labels
from roadseg.road import FlatRoad, IgnoreMask, Profile, SteadyProfile, Vocabulary, free_space

SIZES_HW = [(1, 1), (1, 7), (9, 1), (5, 3), (97, 131)]
Make = Callable[..., Labels]


def by_hand(labels: Labels, ignored: np.ndarray | None = None) -> list[int]:
    """One column after the other, one pixel after the other."""
    found = []
    for x in range(labels.shape[1]):
        free = 0
        while free < labels.shape[0]:
            y = labels.shape[0] - 1 - free
            if labels[y, x] != 3 and not (ignored is not None and ignored[y, x]):
                break
            free += 1
        found.append(free)
    return found


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("seed", range(3))
def test_free_space_is_what_a_loop_finds(
    words: Vocabulary, random_labels: Make, size_hw: tuple[int, int], seed: int
) -> None:
    labels = random_labels(size_hw, seed)
    ignored = np.random.default_rng(seed).random(size_hw) < 0.5
    ignored[0] = False
    assert free_space(labels, words).pixels.tolist() == by_hand(labels)
    mask = IgnoreMask(ignored)
    assert free_space(labels, words, mask).pixels.tolist() == by_hand(labels, ignored)


def test_a_mirrored_picture_has_the_mirrored_profile(
    words: Vocabulary, random_labels: Make
) -> None:
    labels = random_labels((48, 65))
    mirrored = free_space(labels[:, ::-1], words).pixels
    assert (mirrored == free_space(labels, words).pixels[::-1]).all()


def test_specks_are_passed_over_and_what_is_higher_is_not(words: Vocabulary) -> None:
    column = np.array([0, 3, 8, 8, 8, 3, 8, 8, 3], np.uint8)[:, None]
    assert free_space(column, words).pixels == [1]
    assert free_space(column, words, gap_px=2).pixels == [4]
    assert free_space(column, words, gap_px=3).pixels == [8]


def test_pavements_are_free_where_asked_for(words: Vocabulary) -> None:
    column = np.array([0, 4, 3], np.uint8)[:, None]
    assert free_space(column, words).pixels == [1]
    assert free_space(column, words, road="ground").pixels == [2]


def test_classes_without_a_road_say_so() -> None:
    farm = ClassSet("the farm", ("track", "sky"), distinct_colours(2))
    labels = np.array([[1], [0]], np.uint8)
    with pytest.raises(UsageError, match="none called 'road': say which of them it is"):
        free_space(labels, Vocabulary(farm))
    assert free_space(labels, Vocabulary(farm, "road=track")).pixels == [1]


def test_metres_follow_from_the_angle_below_the_horizon() -> None:
    tilt = np.radians(4.0)
    camera = FlatRoad(
        camera_height_m=1.4,
        horizon=0.5 - np.tan(tilt) / 2 / np.tan(np.radians(20)),
        vertical_fov_deg=40.0,
    )
    # A camera that looks 4 degrees down: 3 degrees below its axis is 7 below the horizon.
    edge = np.array([50 + 50 * np.tan(np.radians(3)) / np.tan(np.radians(20))])
    assert camera.distance_m(edge, 100)[0] == pytest.approx(1.4 / np.tan(np.radians(7)))
    x, y = camera.point(0.0, 1.4 / np.tan(np.radians(7)))
    assert (x, y * 100) == (0.5, pytest.approx(edge[0]))


def test_the_picture_of_the_network_may_have_another_shape() -> None:
    camera = FlatRoad.of_picture((360, 480), 1.4, horizon_row=190, fov_deg=54)
    small = camera.distance_m(np.array([176.0]), 176)
    assert small == pytest.approx(camera.distance_m(np.array([360.0]), 360))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"camera_height_m": 0.0}, "camera height of 0.0 m"),
        ({"camera_height_m": float("nan")}, "camera height of nan m"),
        ({"horizon": 1.0}, "horizon lies outside"),
        ({"horizon": -0.1}, "horizon lies outside"),
        ({"fov_deg": 180.0}, "field of view of 180 degrees"),
        ({"vertical_fov_deg": 0.0}, "field of view of 0 degrees"),
    ],
)
def test_camera_that_cannot_be(changes: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        FlatRoad(**changes)


@pytest.mark.parametrize("fov_deg", [0.0, 180.0, float("nan")])
def test_field_of_view_of_a_picture_that_cannot_be(fov_deg: float) -> None:
    with pytest.raises(UsageError, match="field of view"):
        FlatRoad.of_picture((360, 480), fov_deg=fov_deg)


def test_a_steady_profile_halves_what_flickers_and_follows_what_comes_near() -> None:
    steady = SteadyProfile(time_constant_s=0.2)
    rng = np.random.default_rng(0)
    shown = [
        steady.update(i / 25, Profile(60 + rng.normal(0, 4, 480), 352)).pixels for i in range(100)
    ]
    assert np.diff(shown[50:], axis=0).std() < 0.4 * 4
    for i in range(100, 106):  # a quarter of a second
        near = steady.update(i / 25, Profile(np.full(480, 20.0), 352)).pixels
    assert (near < 26).all()


def test_a_steady_profile_begins_anew_after_a_jump() -> None:
    steady = SteadyProfile()
    steady.update(5.0, Profile(np.array([10.0]), 20))
    for time_s, pixels in [(1.0, [2.0]), (3.0, [7.0]), (3.1, [1.0, 2.0])]:
        assert steady.update(time_s, Profile(np.array(pixels), 20)).pixels.tolist() == pixels


@pytest.mark.parametrize("width", [1, 5, 16, 17, 480, 481])
@pytest.mark.parametrize("count", [1, 7, 16])
def test_parts_of_a_profile_are_medians_from_left_to_right(width: int, count: int) -> None:
    rising = np.arange(width) * 16.0
    parts = Profile(rising, 352).parts(count)
    assert (parts.pixels.shape, parts.height) == ((count,), 352)
    middles = (np.arange(count) + 0.5) / count * width - 0.5
    assert np.abs(parts.pixels - 16 * middles).max() <= 16
    specks = np.where(np.arange(width) % 7 == 3, 0.0, 50.0)
    if width >= 7 * count:
        assert (Profile(specks, 352).parts(count).pixels == 50).all()


def test_a_time_constant_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="time constant above 0"):
        SteadyProfile(0.0)
