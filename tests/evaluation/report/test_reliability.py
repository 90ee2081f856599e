"""Reliability and the calibration error, by hand and beside NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest

from roadseg.evaluation.reliability import BINS, Reliability, confidence


def test_confidence_is_the_largest_softmax() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (11, 4, 5)).astype(np.float32)
    exponentials = np.exp(scores.astype(np.float64))
    expected = (exponentials / exponentials.sum(axis=0)).max(axis=0)
    np.testing.assert_allclose(confidence(scores), expected, rtol=1e-6)
    assert confidence(np.array([[[1e4]], [[-1e4]]], np.float32)) == 1.0


def scores_of(sure: list[float]) -> np.ndarray:
    """Two classes, the first of them with the given softmax, above one half."""
    odds = np.log(np.array([sure]) / (1 - np.array([sure])))
    return np.stack([odds, np.zeros_like(odds)]).astype(np.float32)


def test_reliability_by_hand() -> None:
    reliability = Reliability()
    true = np.array([[0, 1, 0, 0, 11]], np.uint8)
    predicted = np.zeros((1, 5), np.uint8)
    reliability.update(scores_of([0.9, 0.9, 0.6, 0.7, 0.99]), predicted, true)
    # Bins of 1/15: 0.9 is in the 14th, 0.7 in the 11th, 0.6 just above the edge of the 9th.
    assert reliability.pixels.sum() == 4
    assert (reliability.pixels[13], reliability.right[13]) == (2, 1)
    assert reliability.accuracy[13] == 0.5
    assert reliability.mean_confidence[13] == pytest.approx(0.9)
    assert math.isnan(reliability.accuracy[0])
    expected = (2 * abs(0.5 - 0.9) + abs(1 - 0.6) + abs(1 - 0.7)) / 4
    assert reliability.expected_calibration_error == pytest.approx(expected, abs=1e-6)


def test_calibration_error_agrees_with_numpy_over_several_frames() -> None:
    rng = np.random.default_rng(1)
    reliability = Reliability()
    everything = []
    for _ in range(3):
        scores = rng.normal(0, 2, (11, 16, 24)).astype(np.float32)
        true = rng.integers(0, 12, (16, 24), dtype=np.uint8)
        predicted = scores.argmax(axis=0).astype(np.uint8)
        reliability.update(scores, predicted, true)
        known = true < 11
        everything.append((confidence(scores)[known], (predicted == true)[known]))
    sure, right = (np.concatenate(parts) for parts in zip(*everything, strict=True))
    gap = 0.0
    for b in range(BINS):
        inside = (sure > b / BINS) & (sure <= (b + 1) / BINS)
        if inside.any():
            gap += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert reliability.expected_calibration_error == pytest.approx(gap, abs=1e-6)
    assert reliability.pixels.sum() == len(sure)


def test_scores_of_another_size_are_sampled_as_the_labels_are() -> None:
    reliability = Reliability()
    reliability.update(
        scores_of([0.9, 0.6]), np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    )
    assert reliability.pixels[13] == 4
    assert reliability.confidence_sum.sum() == pytest.approx(4 * 0.9 + 4 * 0.6, abs=1e-5)


def test_no_pixels_no_calibration_error() -> None:
    assert math.isnan(Reliability().expected_calibration_error)
