"""The search for class biases, against what a search of everything finds."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from roadseg.metrics.class_bias import best_class_bias
from roadseg.metrics.confusion import ConfusionMatrix


def miou(scores: np.ndarray, true: np.ndarray, bias: np.ndarray) -> float:
    matrix = ConfusionMatrix(len(scores))
    predicted = (scores + bias[:, None]).argmax(axis=0).astype(np.uint8)
    matrix.update(predicted[None], true[None].astype(np.uint8))
    return float(matrix.miou)


def pixels(seed: int, shares: tuple[float, ...], noise: float = 1.0) -> tuple[np.ndarray, ...]:
    """Scores that are right on average, of classes with these shares."""
    rng = np.random.default_rng(seed)
    true = rng.choice(len(shares), 20_000, p=shares)
    scores = rng.normal(0, noise, (len(shares), len(true))).astype(np.float32)
    scores[true, np.arange(len(true))] += 1.5
    return scores, true


@pytest.mark.parametrize("seed", range(3))
def test_no_bias_of_a_grid_is_much_better(seed: int) -> None:
    scores, true = pixels(seed, (0.8, 0.15, 0.05))
    found = miou(scores, true, best_class_bias(scores, true))
    grid = [
        miou(scores, true, np.array([0, a, b], np.float32))
        for a, b in itertools.product(np.linspace(-3, 3, 13), repeat=2)
    ]
    assert found > max(grid) - 0.004
    assert found > miou(scores, true, np.zeros(3, np.float32)) + 0.05


def test_a_class_that_is_seen_too_often_is_held_back() -> None:
    scores, true = pixels(0, (0.5, 0.5))
    scores[1] += 2.0
    bias = best_class_bias(scores, true)
    assert bias[1] - bias[0] == pytest.approx(-2.0, abs=0.2)
    assert bias.sum() == pytest.approx(0, abs=1e-6)


def test_scores_that_are_right_stay_as_they_are() -> None:
    scores, true = pixels(0, (0.7, 0.2, 0.1), noise=0.01)
    np.testing.assert_array_equal(best_class_bias(scores, true), np.zeros(3, np.float32))


def test_a_class_that_does_not_occur_stays_where_it_was_beside_the_others() -> None:
    scores, true = pixels(0, (0.7, 0.3))
    three = np.concatenate([scores, np.full((1, scores.shape[1]), -9, np.float32)])
    np.testing.assert_array_equal(best_class_bias(three, true)[:2], best_class_bias(scores, true))
    # Where it is seen instead of the others, they gain on it, and keep what they gained.
    three[2] = scores.max(axis=0) + 0.5
    bias = best_class_bias(three, true)
    assert bias[:2].mean() == pytest.approx(0, abs=1e-6)
    found = (three + bias[:, None]).argmax(axis=0)
    assert (found == 2).mean() < 0.1
