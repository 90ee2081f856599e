from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.road import PrivacyMask, Vocabulary, hide
from roadseg.road.privacy import STYLES


def person_at(y: int, x: int, size_hw: tuple[int, int] = (50, 60)) -> np.ndarray:
    labels = np.full(size_hw, 3, np.uint8)
    labels[y, x] = 9
    return labels


def noise(size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)


def test_the_margin_goes_all_round(words: Vocabulary) -> None:
    mask = PrivacyMask(["people"], words, margin=0.05, hold_s=0).update(0, person_at(25, 30))
    ys, xs = np.nonzero(mask)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (22, 28, 27, 33)
    assert len(ys) == 49


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 9), (9, 1), (33, 35)])
def test_any_size(words: Vocabulary, size_hw: tuple[int, int]) -> None:
    mask = PrivacyMask(["people"], words).update(0, person_at(0, 0, size_hw))
    assert mask.shape == size_hw
    assert mask[0, 0] == 255


def test_a_missed_frame_stays_hidden_and_no_longer_than_asked(words: Vocabulary) -> None:
    privacy = PrivacyMask(["people"], words, margin=0, hold_s=0.5)
    empty = np.full((50, 60), 3, np.uint8)
    assert privacy.update(1.0, person_at(5, 5))[5, 5] == 255
    assert privacy.update(1.5, empty)[5, 5] == 255
    assert privacy.update(1.51, empty)[5, 5] == 0


def test_nothing_is_held_when_time_goes_back_or_the_size_changes(words: Vocabulary) -> None:
    privacy = PrivacyMask(["people"], words, margin=0)
    privacy.update(9.0, person_at(5, 5))
    assert not privacy.update(0.0, np.full((50, 60), 3, np.uint8)).any()
    privacy.update(0.1, person_at(5, 5))
    assert not privacy.update(0.2, np.full((20, 30), 3, np.uint8)).any()


def test_the_mask_is_the_callers_own(words: Vocabulary) -> None:
    privacy = PrivacyMask(["people"], words, margin=0)
    privacy.update(0.0, person_at(5, 5))[:] = 0
    assert privacy.update(0.1, person_at(40, 40))[5, 5] == 255


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size_hw", [(50, 60), (100, 120), (75, 90), (481, 641), (11, 13)])
def test_pixels_under_the_mask_are_gone_and_no_others_change(
    style: str, size_hw: tuple[int, int]
) -> None:
    mask = np.zeros((50, 60), np.uint8)
    mask[20:30, 40:] = 255
    frame_bgr = noise(size_hw)
    before = frame_bgr.copy()
    assert hide(frame_bgr, mask, style) is frame_bgr
    y, x = (np.arange(side) for side in size_hw)
    rows = ((y + 1) * 50 / size_hw[0] > 20) & (y * 50 / size_hw[0] < 30)
    columns = (x + 1) * 60 / size_hw[1] > 40
    under = np.outer(rows, columns)
    # By chance some of noise stays; of a face that is a fleck.
    assert (frame_bgr[under] == before[under]).all(axis=-1).mean() < 0.01
    far = np.outer(
        ((y + 1) * 50 / size_hw[0] < 18) | (y * 50 / size_hw[0] > 32), np.ones_like(x, bool)
    )
    assert (frame_bgr[far] == before[far]).all()


@pytest.mark.parametrize("style", ["blur", "pixelate"])
@pytest.mark.parametrize("place", [(0, 0), (25, 30), (49, 59)])
def test_what_is_smaller_than_a_cell_is_gone_too(style: str, place: tuple[int, int]) -> None:
    frame_bgr = np.full((50, 60, 3), 40, np.uint8)
    frame_bgr[place] = 250
    mask = np.zeros((50, 60), np.uint8)
    mask[place] = 255
    hide(frame_bgr, mask, style)
    assert (frame_bgr[place] < 60).all()


@pytest.mark.parametrize("style", STYLES)
def test_detail_is_gone(style: str) -> None:
    """A pattern finer than a cell, such as a face far away, leaves its mean."""
    frame_bgr = np.full((352, 480, 3), 128, np.uint8)
    frame_bgr[::2, ::2] = 255
    frame_bgr[1::2, 1::2] = 0
    hide(frame_bgr, np.full((352, 480), 255, np.uint8), style)
    assert np.ptp(frame_bgr[20:-20, 20:-20].astype(int)) <= 16


def test_an_empty_mask_changes_nothing() -> None:
    frame_bgr = noise((50, 60))
    assert (hide(frame_bgr, np.zeros((5, 6), np.uint8)) == noise((50, 60))).all()


def test_wrong_arguments_are_refused(words: Vocabulary) -> None:
    with pytest.raises(UsageError, match="use pedestrian"):
        PrivacyMask(["pedestrain"], words)
    with pytest.raises(UsageError, match="nothing to hide"):
        PrivacyMask([], words)
    for wrong in ({"margin": -0.1}, {"margin": 1.5}, {"hold_s": -1.0}, {"hold_s": float("nan")}):
        with pytest.raises(UsageError, match="cannot hide with a margin"):
            PrivacyMask(["people"], words, **wrong)
    with pytest.raises(UsageError, match="cannot hide by 'smear'"):
        hide(noise((5, 6)), np.zeros((5, 6), np.uint8), "smear")


@pytest.mark.parametrize("style", STYLES)
def test_frames_that_are_not_contiguous(style: str) -> None:
    mask = np.zeros((40, 60), np.uint8)
    mask[10:25, 20:41] = 255
    wide, tall = noise((80, 120)), noise((40, 60))
    for part in (wide[20:60, 30:90], wide[::2, ::2], tall[::-1, ::-1], tall[..., ::-1]):
        expected = hide(np.ascontiguousarray(part), mask, style)
        before = part.copy()
        assert hide(part, mask, style) is part
        np.testing.assert_array_equal(part, expected)
        assert (part != before).any()
