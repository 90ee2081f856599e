from __future__ import annotations

import doctest

import numpy as np
import pytest

from roadseg.metrics import boundary, confusion
from roadseg.metrics.confusion import ConfusionMatrix


def ids(*rows: list[int]) -> np.ndarray:
    return np.array(rows, np.uint8)


@pytest.fixture
def hand_worked() -> ConfusionMatrix:
    """Three classes on a 3x4 picture with two void pixels.

    truth      prediction
    0 0 0 1    0 0 1 1
    0 1 1 V    2 1 1 0
    2 2 V 1    2 0 2 0
    """
    matrix = ConfusionMatrix(num_classes=3)
    matrix.update(
        ids([0, 0, 1, 1], [2, 1, 1, 0], [2, 0, 2, 0]),
        ids([0, 0, 0, 1], [0, 1, 1, 11], [2, 2, 11, 1]),
    )
    return matrix


def test_counts_by_truth_and_prediction(hand_worked: ConfusionMatrix) -> None:
    np.testing.assert_array_equal(hand_worked.matrix, [[2, 1, 1], [1, 3, 0], [1, 0, 1]])
    assert hand_worked.matrix.dtype == np.int64


def test_hand_worked_figures(hand_worked: ConfusionMatrix) -> None:
    assert hand_worked.global_accuracy == pytest.approx(6 / 10)
    assert hand_worked.per_class_accuracy == pytest.approx([2 / 4, 3 / 4, 1 / 2])
    assert hand_worked.class_accuracy == pytest.approx((2 / 4 + 3 / 4 + 1 / 2) / 3)
    # right / (row + column - right)
    assert hand_worked.per_class_iou == pytest.approx([2 / 6, 3 / 5, 1 / 3])
    assert hand_worked.miou == pytest.approx((2 / 6 + 3 / 5 + 1 / 3) / 3)


def test_absent_classes_are_left_out_and_only_predicted_ones_count_for_iou() -> None:
    matrix = ConfusionMatrix(num_classes=4)
    matrix.update(ids([0, 0, 1, 2]), ids([0, 0, 0, 2]))  # 1 only predicted, 3 nowhere
    np.testing.assert_array_equal(matrix.per_class_iou, [2 / 3, 0, 1, np.nan])
    assert matrix.miou == pytest.approx((2 / 3 + 0 + 1) / 3)
    np.testing.assert_array_equal(matrix.per_class_accuracy, [2 / 3, np.nan, 1, np.nan])
    assert matrix.class_accuracy == pytest.approx((2 / 3 + 1) / 2)


def test_nothing_counted_is_nan_without_a_warning() -> None:
    matrix = ConfusionMatrix()
    matrix.update(ids([3, 4]), ids([11, 255]))
    assert matrix.matrix.sum() == 0
    for value in (matrix.global_accuracy, matrix.class_accuracy, matrix.miou):
        assert np.isnan(value)
    assert np.isnan(matrix.per_class_iou).all()


def test_perfect_and_entirely_wrong() -> None:
    truth = np.arange(11, dtype=np.uint8)
    perfect, wrong = ConfusionMatrix(), ConfusionMatrix()
    perfect.update(truth, truth)
    wrong.update(np.roll(truth, 1), truth)
    assert (perfect.global_accuracy, perfect.class_accuracy, perfect.miou) == (1, 1, 1)
    assert (wrong.global_accuracy, wrong.class_accuracy, wrong.miou) == (0, 0, 0)


def test_updates_agree_with_counting_pixel_by_pixel() -> None:
    rng = np.random.default_rng(0)
    predicted = rng.integers(0, 11, (3, 17, 23), dtype=np.uint8)
    true = rng.integers(0, 12, (3, 17, 23), dtype=np.uint8)
    expected = np.zeros((11, 11), np.int64)
    for t, p in zip(true.ravel(), predicted.ravel(), strict=True):
        if t < 11:
            expected[t, p] += 1
    one_by_one, stacked = ConfusionMatrix(), ConfusionMatrix()
    for p, t in zip(predicted, true, strict=True):
        one_by_one.update(p, t)
    stacked.update(predicted, true)
    np.testing.assert_array_equal(one_by_one.matrix, expected)
    np.testing.assert_array_equal(stacked.matrix, expected)


def test_shapes_that_differ() -> None:
    with pytest.raises(ValueError) as error:
        ConfusionMatrix().update(ids([1, 2]), ids([1], [2]))
    assert str(error.value) == "expected predicted and true ids of one shape, got (1, 2) and (2, 1)"


def test_class_that_does_not_exist_is_refused_and_nothing_is_counted() -> None:
    matrix = ConfusionMatrix(num_classes=3)
    with pytest.raises(ValueError, match=r"^expected predicted ids 0\.\.2, got 7$"):
        matrix.update(ids([0, 7]), ids([0, 1]))
    assert matrix.matrix.sum() == 0


def test_void_may_hide_any_prediction() -> None:
    matrix = ConfusionMatrix(num_classes=3)
    matrix.update(ids([0, 11]), ids([0, 11]))
    assert matrix.matrix.sum() == 1


@pytest.mark.parametrize("module", [confusion, boundary])
def test_examples_in_docstrings(module: object) -> None:
    result = doctest.testmod(module, extraglobs={"np": np})  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0
