from __future__ import annotations

import math

import numpy as np
import pytest

from roadseg.metrics.boundary import BoundaryF1, boundary_f1, boundary_map


def reference(predicted: np.ndarray, true: np.ndarray, num_classes: int) -> np.ndarray:
    """BF by definition, one pixel pair at a time."""
    height, width = true.shape
    tolerance = 0.0075 * math.sqrt(height**2 + width**2)

    def edges(ids: np.ndarray, c: int) -> list[tuple[int, int]]:
        found = []
        for y in range(height):
            for x in range(width):
                if ids[y, x] != c or true[y, x] == 11:
                    continue
                for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                    inside = 0 <= v < height and 0 <= u < width
                    if inside and true[v, u] != 11 and ids[v, u] != c:
                        found.append((y, x))
                        break
        return found

    def share(points: list[tuple[int, int]], targets: list[tuple[int, int]]) -> float:
        near = [any(math.dist(p, t) <= tolerance for t in targets) for p in points]
        return sum(near) / len(near)

    f1 = np.full(num_classes, np.nan)
    for c in range(num_classes):
        p, t = edges(predicted, c), edges(true, c)
        if p and t:
            precision, recall = share(p, t), share(t, p)
            total = precision + recall
            f1[c] = 2 * precision * recall / total if total else 0
        elif p or t:
            f1[c] = 0
    return f1


def halves(split: int, hw: tuple[int, int] = (240, 320)) -> np.ndarray:
    """Class 0 at the left, class 1 from column `split` on."""
    ids = np.zeros(hw, np.uint8)
    ids[:, split:] = 1
    return ids


def test_boundary_map_has_both_sides_and_no_image_edge() -> None:
    ids = np.array([[0, 0, 0, 0], [0, 2, 2, 0], [0, 0, 0, 0]], np.uint8)
    expected = [[0, 1, 1, 0], [1, 1, 1, 1], [0, 1, 1, 0]]
    np.testing.assert_array_equal(boundary_map(ids, np.ones(ids.shape, bool)), expected)


def test_boundary_map_knows_no_border_against_void() -> None:
    ids = np.array([[0, 0, 9, 1, 1, 2]], np.uint8)
    known = np.array([[True, True, False, True, True, True]])
    np.testing.assert_array_equal(boundary_map(ids, known), [[0, 0, 0, 0, 1, 1]])


# The diagonal of 240x320 is 400 pixels: the tolerance is exactly 3.
@pytest.mark.parametrize(("shift", "expected"), [(0, 1.0), (1, 1.0), (3, 1.0), (4, 0.0)])
def test_tolerance_is_three_quarters_of_a_percent_and_inclusive(
    shift: int, expected: float
) -> None:
    f1, in_truth = boundary_f1(halves(100 + shift), halves(100), num_classes=2)
    assert f1.tolist() == [expected, expected]
    assert in_truth.tolist() == [True, True]


def test_hand_worked_precision_and_recall() -> None:
    # The prediction follows the outline in the upper half and is 50 columns off in the lower.
    predicted = halves(100)
    predicted[120:] = halves(150)[120:]
    f1, _ = boundary_f1(predicted, halves(100), num_classes=2)
    # Class 0, predicted: 120 pixels in column 99, 120 in column 149 and 50 in the step between
    # them, of which one is in column 149, too. Right: column 99 and the first 3 of the step.
    precision = (120 + 3) / 289
    # True: 240 pixels in column 99. Found: rows 0..119, and 120..122 near the step's beginning.
    recall = (120 + 3) / 240
    expected = 2 * precision * recall / (precision + recall)
    assert f1 == pytest.approx([expected, expected], abs=1e-12)


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_brute_force(seed: int) -> None:
    rng = np.random.default_rng(seed)
    # Blobs and not noise, and a flat picture: 9x300 has a tolerance of 2.25 and few pixels.
    true = np.repeat(rng.integers(0, 5, (3, 20)), 15, axis=1).repeat(3, axis=0).astype(np.uint8)
    predicted = np.roll(true, int(rng.integers(-3, 4)), axis=1)
    predicted[rng.random(true.shape) < 0.01] = 4
    true[true == 3] = 11
    f1, in_truth = boundary_f1(predicted, true, num_classes=6)
    expected = reference(predicted, true, 6)
    np.testing.assert_allclose(f1, expected, rtol=0, atol=1e-12)
    assert np.isnan(f1[5])
    assert not in_truth[3]


def test_prediction_inside_void_does_not_count() -> None:
    true = halves(100)
    true[50:100, 200:300] = 11
    predicted = halves(100)
    predicted[60:90, 210:290] = 5
    f1, _ = boundary_f1(predicted, true)
    assert f1[:2].tolist() == [1.0, 1.0]
    assert np.isnan(f1[2:]).all()


def test_two_averages_differ_by_classes_that_are_only_predicted() -> None:
    predicted = halves(100)
    predicted[100:110, 200:210] = 7
    boundary = BoundaryF1()
    boundary.update(predicted, halves(100))
    f1, in_truth = boundary_f1(predicted, halves(100))
    assert in_truth.sum() == 2
    assert f1[7] == 0
    # Class 1 has 240 predicted boundary pixels on the line and 40 around the false patch.
    precision = 240 / 280
    class_1 = 2 * precision / (precision + 1)
    assert boundary.ground_truth == pytest.approx((1 + class_1) / 2)
    assert boundary.union == pytest.approx((1 + class_1 + 0) / 3)


def test_missed_class_counts_as_zero_in_both_averages() -> None:
    true = halves(100)
    boundary = BoundaryF1()
    boundary.update(np.zeros_like(true), true)
    assert (boundary.ground_truth, boundary.union, boundary.images) == (0, 0, 1)


def test_average_over_images_skips_those_without_a_boundary() -> None:
    boundary = BoundaryF1()
    uniform = np.zeros((240, 320), np.uint8)
    assert math.isnan(boundary.ground_truth)
    boundary.update(uniform, uniform)
    assert math.isnan(boundary.ground_truth)
    assert math.isnan(boundary.union)
    boundary.update(halves(100), halves(100))
    boundary.update(halves(104), halves(100))
    assert boundary.ground_truth == pytest.approx(0.5)
    assert boundary.union == pytest.approx(0.5)
    assert boundary.images == 3


def test_one_pixel() -> None:
    pixel = np.zeros((1, 1), np.uint8)
    f1, in_truth = boundary_f1(pixel, pixel)
    assert np.isnan(f1).all()
    assert not in_truth.any()


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError) as error:
        boundary_f1(np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8))
    assert str(error.value) == (
        "expected predicted and true ids of one (H, W) shape, got (2, 3) and (3, 2)"
    )
