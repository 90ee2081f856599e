"""Reliability: whether a network that is 80 % sure is right four times in five."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.labels import NUM_CLASSES
from roadseg.core.types import Labels

BINS = 15
"""Bins of equal width, as Guo et al. 2017 ("On calibration of modern neural networks") use."""


def confidence(
    scores: npt.NDArray[np.float32], temperature: float = 1.0
) -> npt.NDArray[np.float32]:
    """Softmax of the best class.

    Args:
        scores: (classes, h, w) float32, before softmax.
        temperature: that scores are divided by; see `evaluation.temperature`.

    Returns:
        (h, w) float32, above 0 and at most 1.
    """
    best = scores.max(axis=0)
    # The best class's own term is exp(0) = 1, so nothing overflows.
    total: npt.NDArray[np.float32] = np.exp((scores - best) / np.float32(temperature)).sum(axis=0)
    return np.reciprocal(total)


class Reliability:
    """Confidence against accuracy, pixel by pixel; void is not counted.

    Args:
        num_classes: true ids from here up are void.
        temperature: that scores are divided by before softmax.

    Attributes:
        pixels: (BINS,) int64, pixels by the confidence of their label.
        right: (BINS,) int64, those among them whose label is right.
        confidence_sum: (BINS,) float64.
    """

    def __init__(self, num_classes: int = NUM_CLASSES, temperature: float = 1.0) -> None:
        self.num_classes, self.temperature = num_classes, temperature
        self.pixels = np.zeros(BINS, np.int64)
        self.right = np.zeros(BINS, np.int64)
        self.confidence_sum = np.zeros(BINS)

    def update(
        self, scores: npt.NDArray[np.float32], predicted_ids: Labels, true_ids: Labels
    ) -> None:
        """Count one frame.

        Args:
            scores: (classes, h, w) float32 at the network's size, before softmax.
            predicted_ids: (H, W) uint8 class ids at the labels' size, made from these scores.
            true_ids: (H, W) uint8 class ids.
        """
        sure = confidence(scores, self.temperature)
        height, width = true_ids.shape
        if sure.shape != (height, width):
            # The sampling of `postprocess.to_source`: a pixel's confidence is its label's.
            sure = cv2.resize(sure, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
        known = true_ids < self.num_classes
        sure, right = sure[known], (predicted_ids == true_ids)[known]
        # Bins are (low, high], so that full confidence is in the last one.
        bins = np.clip(np.ceil(sure * BINS).astype(np.int64) - 1, 0, BINS - 1)
        self.pixels += np.bincount(bins, minlength=BINS)
        self.right += np.bincount(bins[right], minlength=BINS)
        self.confidence_sum += np.bincount(bins, weights=sure, minlength=BINS)

    @property
    def accuracy(self) -> npt.NDArray[np.float64]:
        """(BINS,) float64: share of right labels; NaN for an empty bin."""
        return self._per_pixel(self.right)

    @property
    def mean_confidence(self) -> npt.NDArray[np.float64]:
        """(BINS,) float64: what the network thought; NaN for an empty bin."""
        return self._per_pixel(self.confidence_sum)

    @property
    def expected_calibration_error(self) -> float:
        """ECE: gap between confidence and accuracy, averaged over pixels; NaN without pixels."""
        total = int(self.pixels.sum())
        if not total:
            return float("nan")
        return float(np.abs(self.right - self.confidence_sum).sum() / total)

    def _per_pixel(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        share = np.full(BINS, np.nan)
        np.divide(values, self.pixels, out=share, where=self.pixels > 0)
        return share
