from __future__ import annotations

import numpy as np
import pytest

from roadseg.evaluation.flicker import Flicker


def row(*ids: int) -> np.ndarray:
    return np.array([ids], np.uint8)


def test_by_hand() -> None:
    flicker = Flicker()
    # Column by column: still and steady; still and flickering; the truth moves; void once; void
    # twice.
    flicker.update(row(0, 1, 2, 3, 4), row(0, 1, 2, 11, 11))
    flicker.update(row(0, 5, 6, 7, 8), row(0, 1, 3, 3, 11))
    assert (flicker.steady, flicker.changed, flicker.score) == (2, 1, 0.5)
    # The fourth column joins in, and returns to what it was: a change, too.
    flicker.update(row(0, 5, 6, 3, 8), row(0, 1, 3, 3, 11))
    assert (flicker.steady, flicker.changed) == (6, 2)
    assert flicker.score == pytest.approx(1 / 3)
    assert flicker.frames == 3


def test_wrong_but_steady_labels_do_not_flicker() -> None:
    flicker = Flicker()
    for _ in range(3):
        flicker.update(row(4, 4, 4), row(0, 1, 2))
    assert flicker.score == 0.0


@pytest.mark.parametrize("frames", [0, 1])
def test_undefined_without_two_frames(frames: int) -> None:
    flicker = Flicker()
    for _ in range(frames):
        flicker.update(row(0), row(0))
    assert np.isnan(flicker.score)


def test_agrees_with_numpy_on_a_random_clip() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(0, 12, (6, 20, 30), dtype=np.uint8)
    predicted = rng.integers(0, 11, (6, 20, 30), dtype=np.uint8)
    true[3:] = true[2]
    flicker = Flicker()
    for p, t in zip(predicted, true, strict=True):
        flicker.update(p, t)
    steady = (true[1:] == true[:-1]) & (true[1:] < 11)
    assert flicker.score == (predicted[1:] != predicted[:-1])[steady].mean()


def test_the_arrays_may_be_reused_by_their_owner() -> None:
    flicker = Flicker()
    ids = row(0, 0)
    flicker.update(ids, row(0, 0))
    ids[:] = 5
    flicker.update(ids, row(0, 0))
    assert flicker.score == 1.0


def test_shapes() -> None:
    flicker = Flicker()
    with pytest.raises(
        ValueError,
        match=r"^expected predicted and true ids of one shape, got \(1, 2\) and \(1, 1\)$",
    ):
        flicker.update(row(0, 0), row(0))


def test_a_frame_of_another_size_follows_none() -> None:
    flicker = Flicker()
    for ids in (row(0), row(1, 1), row(1, 2)):
        flicker.update(ids, row(*[0] * ids.size))
    assert (flicker.frames, flicker.steady, flicker.changed) == (3, 2, 1)
