from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.types import Labels
from roadseg.road import Corridor, FlatRoad, IgnoreMask, Vocabulary, shares

SIZES_HW = [(1, 1), (1, 7), (9, 1), (5, 3), (97, 131)]
Make = Callable[..., Labels]
WHOLE = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]


@pytest.mark.parametrize("seed", range(3))
def test_occupancy_is_exact(words: Vocabulary, random_labels: Make, seed: int) -> None:
    labels = random_labels((96, 128), seed)
    lane = Corridor()
    inside = (lane.mask((96, 128)) > 0) & (labels < 11)
    read = lane.read(labels, words)
    things = np.isin(labels, words.ids("obstacle"))
    assert read.occupied == pytest.approx((things & inside).sum() / inside.sum(), abs=1e-12)
    assert read.shares[3] == ((labels == 3) & inside).sum() / inside.sum()


@pytest.mark.parametrize("size_hw", SIZES_HW)
def test_any_size(words: Vocabulary, random_labels: Make, size_hw: tuple[int, int]) -> None:
    labels = random_labels(size_hw)
    read = Corridor(WHOLE).read(labels, words, row_share=0.0)
    rows = np.flatnonzero(np.isin(labels, words.ids("obstacle")).any(axis=1))
    assert read.nearest_px == (size_hw[0] - 1 - rows[-1] if rows.size else None)
    assert (read.shares == shares(labels, words)).all() or np.isnan(read.occupied)


def test_a_mirrored_picture_has_the_same_corridor(words: Vocabulary, random_labels: Make) -> None:
    labels = random_labels((96, 128))
    lane = Corridor()
    left, right = lane.read(labels, words), lane.read(labels[:, ::-1].copy(), words)
    assert (left.shares == right.shares).all()
    assert (left.nearest_px, left.nearest_class) == (right.nearest_px, right.nearest_class)


def test_the_nearest_thing_and_its_distance(words: Vocabulary) -> None:
    labels = np.full((100, 100), 3, np.uint8)
    labels[:50] = 0
    labels[40:70, 40:60] = 8
    labels[60:65, 48:52] = 9  # in front of the car, but its feet are higher up
    camera = FlatRoad(1.2, 0.5, vertical_fov_deg=90)
    read = Corridor(WHOLE).read(labels, words)
    assert (read.nearest_px, read.nearest_class) == (30, "car")
    assert read.nearest_m(camera) == pytest.approx(1.2 / 0.4)
    free = Corridor(WHOLE).read(np.full((100, 100), 3, np.uint8), words)
    assert (free.nearest_px, free.nearest_class, free.nearest_m(camera)) == (None, None, None)
    assert free.occupied == 0


def test_a_speck_blocks_no_row(words: Vocabulary) -> None:
    labels = np.full((100, 100), 3, np.uint8)
    labels[90, 50:55] = 8
    assert Corridor(WHOLE).read(labels, words).nearest_px is None
    assert Corridor(WHOLE).read(labels, words, row_share=0.05).nearest_px == 9


def test_ignored_pixels_are_not_in_the_way(words: Vocabulary) -> None:
    labels = np.full((100, 100), 3, np.uint8)
    labels[80:] = 8
    bonnet = IgnoreMask(np.arange(100)[:, None].repeat(100, 1) >= 80)
    read = Corridor(WHOLE).read(labels, words, bonnet)
    assert (read.occupied, read.nearest_px) == (0, None)


def test_the_corridor_ahead_has_the_width_of_a_lane() -> None:
    camera = FlatRoad.of_picture((352, 480), 1.4, 180, 54)
    mask = Corridor.ahead(camera, width_m=3.0, far_m=40.0).mask((352, 480))
    wide = mask.astype(bool).sum(axis=1)
    focal_px = 240 / np.tan(np.radians(27))
    for row in (250, 300, 351):
        ahead_m = camera.distance_m(np.array(row + 0.5), 352)
        assert wide[row] == pytest.approx(3.0 * focal_px / ahead_m, abs=2)
    assert np.flatnonzero(wide)[0] == pytest.approx(
        np.argmin(np.abs(camera.distance_m(np.arange(352.0), 352) - 40)), abs=1
    )


def test_corridor_outside_the_picture_is_refused() -> None:
    with pytest.raises(UsageError, match="corridor lies outside the picture"):
        Corridor([(1.2, 1), (1.3, 0.5), (1.4, 1)])


@pytest.mark.parametrize("camera", [FlatRoad(camera_height_m=100), FlatRoad(horizon=0.997)])
def test_a_camera_that_sees_none_of_it_is_named_as_the_reason(camera: FlatRoad) -> None:
    with pytest.raises(UsageError, match="does not see the road up to 30 m ahead"):
        Corridor.ahead(camera)
