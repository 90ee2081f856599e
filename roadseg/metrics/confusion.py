"""Pixel accuracies from a confusion matrix: the G, C and mIoU of the SegNet paper."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from roadseg.core.labels import NUM_CLASSES
from roadseg.core.types import Labels


class ConfusionMatrix:
    """Counts of pixels by true and by predicted class.

    A pixel whose true id is `num_classes` or above is void and not counted, whatever was
    predicted there.

    >>> matrix = ConfusionMatrix(num_classes=2)
    >>> matrix.update(np.array([[0, 0, 1, 1]], np.uint8), np.array([[0, 1, 1, 11]], np.uint8))
    >>> matrix.matrix
    array([[1, 0],
           [1, 1]])
    >>> matrix.per_class_iou
    array([0.5, 0.5])

    Attributes:
        matrix: (num_classes, num_classes) int64, row = true class, column = predicted class.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        self.num_classes = num_classes
        self.matrix: npt.NDArray[np.int64] = np.zeros((num_classes, num_classes), np.int64)

    def update(self, predicted_ids: Labels, true_ids: Labels) -> None:
        """Count one frame, or any stack of frames.

        Args:
            predicted_ids: uint8 class ids, any shape, 0..num_classes-1.
            true_ids: uint8 class ids of the same shape; ids from num_classes up are void.

        Raises:
            ValueError: the shapes differ, or a class is predicted that does not exist.
        """
        if predicted_ids.shape != true_ids.shape:
            raise ValueError(
                f"expected predicted and true ids of one shape, "
                f"got {predicted_ids.shape} and {true_ids.shape}"
            )
        n = self.num_classes
        # One uint16 code per pixel, counted in one pass; void codes land behind the matrix.
        code = true_ids.astype(np.uint16) * 256 + predicted_ids
        table = np.bincount(code.ravel(), minlength=n * 256)[: n * 256].reshape(n, 256)
        if table[:, n:].any():
            highest = int(np.flatnonzero(table.any(axis=0))[-1])
            raise ValueError(f"expected predicted ids 0..{n - 1}, got {highest}")
        self.matrix += table[:, :n]

    @property
    def global_accuracy(self) -> float:
        """G: share of pixels predicted right; NaN when nothing was counted."""
        total = self.matrix.sum()
        return float(self.matrix.trace() / total) if total else float("nan")

    @property
    def class_accuracy(self) -> float:
        """C: mean of `per_class_accuracy` over the classes present in the truth."""
        return _mean(self.per_class_accuracy)

    @property
    def per_class_accuracy(self) -> npt.NDArray[np.float64]:
        """(num_classes,) float64: share of each true class found; NaN for an absent class."""
        true = self.matrix.sum(axis=1)
        accuracy = np.full(self.num_classes, np.nan)
        np.divide(self.matrix.diagonal(), true, out=accuracy, where=true > 0)
        return accuracy

    @property
    def per_class_iou(self) -> npt.NDArray[np.float64]:
        """(num_classes,) float64: right / (true + predicted - right).

        NaN for a class that is neither in the truth nor predicted; 0 for one only predicted.
        """
        right = self.matrix.diagonal()
        union = self.matrix.sum(axis=0) + self.matrix.sum(axis=1) - right
        iou = np.full(self.num_classes, np.nan)
        np.divide(right, union, out=iou, where=union > 0)
        return iou

    @property
    def miou(self) -> float:
        """Mean of `per_class_iou` over the classes that have one; NaN when none has."""
        return _mean(self.per_class_iou)


def _mean(values: npt.NDArray[np.float64]) -> float:
    valid = values[~np.isnan(values)]
    return float(valid.mean()) if valid.size else float("nan")
