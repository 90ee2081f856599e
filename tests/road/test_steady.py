from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
import pytest

from roadseg.core.types import Image, Labels
from roadseg.road import Steady, Vocabulary

Make = Callable[..., Labels]


def texture(size_hw: tuple[int, int]) -> Image:
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.integers(0, 256, (*size_hw, 3), np.uint8), (0, 0), 2)


def run(frames: list[Image], labels: list[Labels]) -> list[Labels]:
    steady = Steady(Vocabulary())
    steadied = [steady.push(f, each) for f, each in zip(frames, labels, strict=True)]
    assert steadied[0] is None
    last = steady.flush()
    assert last is not None
    assert steady.flush() is None
    return [each for each in steadied[1:] if each is not None] + [last]


def test_every_frame_comes_out_once_and_one_frame_late(random_labels: Make) -> None:
    labels = [random_labels((64, 80), 0)] * 4
    frames = [texture((64, 80))] * 4
    steadied = run(frames, labels)
    assert len(steadied) == 4
    assert all((each == labels[0]).all() for each in steadied)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (47, 200), (49, 1000), (97, 131)])
def test_any_size(random_labels: Make, size_hw: tuple[int, int]) -> None:
    labels = [random_labels(size_hw, seed) for seed in range(3)]
    for each in run([texture(size_hw)] * 3, labels):
        assert each.shape == size_hw
        assert each.dtype == np.uint8
        assert set(np.unique(each)) <= set(np.unique(labels))


def test_flicker_at_a_border_calms_down() -> None:
    rng = np.random.default_rng(1)
    truth = np.full((120, 160), 1, np.uint8)
    truth[60:] = 3
    labels = []
    for _ in range(20):
        each = truth.copy()
        row = 60 + rng.integers(-1, 2, 160)
        each[np.arange(120)[:, None] >= row[None, :]] = 3
        each[np.arange(120)[:, None] < row[None, :]] = 1
        labels.append(each)
    steadied = run([texture((120, 160))] * 20, labels)

    def unrest(maps: list[Labels]) -> float:
        return float(np.mean([(a != b).mean() for a, b in pairwise(maps[2:])]))

    assert unrest(steadied) < 0.5 * unrest(labels)


def test_a_pole_that_moves_stays_whole_and_leaves_no_trail() -> None:
    """Three pixels wide, four pixels a frame: its places before and after do not touch it."""
    world = texture((120, 400))
    frames, labels = [], []
    for i in range(12):
        left = 4 * i
        frames.append(np.ascontiguousarray(world[:, 100 - left : 260 - left]))
        each = np.full((120, 160), 1, np.uint8)
        each[20:100, 40 + left : 43 + left] = 2
        labels.append(each)
    for steadied, true in zip(run(frames, labels), labels, strict=True):
        assert ((steadied == 2) == (true == 2)).mean() > 0.999


def test_a_sign_that_the_flow_confirms_stays_and_a_speck_of_one_does_not() -> None:
    world = texture((120, 400))
    frames, labels = [], []
    for i in range(12):
        left = 6 * i
        frames.append(np.ascontiguousarray(world[:, 100 - left : 260 - left]))
        each = np.full((120, 160), 1, np.uint8)
        each[40:48, 40 + left : 48 + left] = 6
        labels.append(each)
    true = [each.copy() for each in labels]
    labels[6][80:82, 100:102] = 6
    for steadied, each in zip(run(frames, labels), true, strict=True):
        assert ((steadied == 6) == (each == 6)).all()


def test_a_person_who_appears_is_there_at_once() -> None:
    frames = [texture((120, 160))] * 6
    labels = [np.full((120, 160), 3, np.uint8) for _ in range(6)]
    for each in labels[3:]:
        each[40:80, 70:85] = 9
    steadied = run(frames, labels)
    assert not (steadied[2] == 9).any()
    # Corners come a frame later.
    assert ((steadied[3] == 9) != (labels[3] == 9)).sum() <= 4
    assert (steadied[4] == labels[4]).all()


def test_a_cut_is_taken_over_as_it_is() -> None:
    labels = [np.full((64, 80), i, np.uint8) for i in (1, 1, 3, 3)]
    for steadied, each in zip(run([texture((64, 80))] * 4, labels), labels, strict=True):
        assert (steadied == each).all()


def test_another_size_begins_anew(random_labels: Make) -> None:
    steady = Steady(Vocabulary())
    small, large = random_labels((40, 50)), random_labels((64, 80))
    assert steady.push(texture((40, 50)), small) is None
    assert (steady.push(texture((64, 80)), large) == small).all()
    assert (steady.push(texture((64, 80)), large) == large).all()


def test_the_arrays_may_be_reused_by_their_owner() -> None:
    steady = Steady(Vocabulary())
    labels, frame_bgr = np.full((64, 80), 3, np.uint8), texture((64, 80))
    steady.push(frame_bgr, labels)
    labels[:] = 5
    first = steady.push(frame_bgr, labels)
    assert first is not None
    assert (first == 3).all()
    first[:] = 7
    second = steady.push(frame_bgr, labels)
    assert second is not None
    assert (second != 7).all()


def test_a_frame_of_another_size_than_its_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a frame of 64x80, the labels' size"):
        Steady(Vocabulary()).push(texture((32, 40)), np.zeros((64, 80), np.uint8))
