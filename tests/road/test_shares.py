from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from roadseg.core.types import Labels
from roadseg.road import Area, IgnoreMask, Vocabulary, share_of, shares
from roadseg.road.shares import pixel_counts

SIZES_HW = [(1, 1), (1, 7), (9, 1), (5, 3), (97, 131)]
Make = Callable[..., Labels]


@pytest.mark.parametrize("size_hw", SIZES_HW)
@pytest.mark.parametrize("seed", range(3))
def test_shares_sum_to_one(
    words: Vocabulary, random_labels: Make, size_hw: tuple[int, int], seed: int
) -> None:
    each = shares(random_labels(size_hw, seed), words)
    assert each.shape == (11,)
    assert each.sum() == pytest.approx(1) or np.isnan(each).all()


def test_shares_are_those_of_numpy(words: Vocabulary, random_labels: Make) -> None:
    labels = random_labels((97, 131))
    counted = labels[labels < 11]
    expected = [(counted == c).sum() / counted.size for c in range(11)]
    assert shares(labels, words).tolist() == expected


def test_a_mirrored_picture_has_the_same_shares(words: Vocabulary, random_labels: Make) -> None:
    labels = random_labels((97, 131))
    assert (shares(labels[:, ::-1], words) == shares(labels, words)).all()


def test_ignored_pixels_change_nothing(words: Vocabulary, random_labels: Make) -> None:
    labels = random_labels((48, 64))
    ignored = np.random.default_rng(1).random(labels.shape) < 0.3
    other = labels.copy()
    other[ignored] = 7
    mask = IgnoreMask(ignored)
    assert (shares(labels, words, ignore=mask) == shares(other, words, ignore=mask)).all()
    kept = labels[~ignored & (labels < 11)]
    assert share_of(shares(labels, words, ignore=mask), words) == (kept == 3).sum() / kept.size


def test_an_area_counts_what_is_inside(words: Vocabulary, random_labels: Make) -> None:
    labels = random_labels((48, 64))
    left = Area("left", [(0, 0), (0.5, 0), (0.5, 1), (0, 1)])
    assert (shares(labels, words, left) == shares(labels[:, :32].copy(), words)).all()


def test_nothing_that_counts_is_nan(words: Vocabulary) -> None:
    assert np.isnan(shares(np.full((3, 3), 11, np.uint8), words)).all()


def test_counts_are_exact_beyond_what_float32_holds() -> None:
    labels = np.broadcast_to(np.zeros((), np.uint8), (4097, 4097)).copy()
    assert pixel_counts(labels)[0] == 4097 * 4097
