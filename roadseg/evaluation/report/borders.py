"""How much of what is wrong lies at borders between classes, where labels are a matter of taste."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.labels import NUM_CLASSES
from roadseg.core.types import Labels
from roadseg.metrics.boundary import boundary_map

FARTHEST_PX = 20
"""Distances are told apart up to this many pixels."""


def border_distance(true_ids: Labels, num_classes: int = NUM_CLASSES) -> npt.NDArray[np.int64]:
    """How far each pixel is from a border of the truth.

    Args:
        true_ids: (H, W) uint8 class ids.
        num_classes: ids from here up are void, which makes no border.

    Returns:
        (H, W) int64: 1 on pixels that touch another class, 2 beside those and so on (Euclidean,
        rounded down), and `FARTHEST_PX` + 1 for everything farther away.

    >>> border_distance(np.array([[0, 0, 0, 1, 1]], np.uint8))
    array([[3, 2, 1, 1, 2]])
    """
    edge = boundary_map(true_ids, true_ids < num_classes)
    if not edge.any():
        return np.full(true_ids.shape, FARTHEST_PX + 1, np.int64)
    away = np.where(edge, np.uint8(0), np.uint8(1))
    distance = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    steps: npt.NDArray[np.int64] = np.minimum(distance.astype(np.int64), FARTHEST_PX) + 1
    return steps


class BorderErrors:
    """Pixels and errors by their distance from the nearest true border; void is not counted.

    Args:
        num_classes: true ids from here up are void.

    Attributes:
        pixels: (FARTHEST_PX + 1,) int64; entry i is distance i + 1, the last all beyond.
        errors: (FARTHEST_PX + 1,) int64, those with a wrong label.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        self.num_classes = num_classes
        self.pixels = np.zeros(FARTHEST_PX + 1, np.int64)
        self.errors = np.zeros(FARTHEST_PX + 1, np.int64)

    def update(self, predicted_ids: Labels, true_ids: Labels) -> None:
        """Count one frame: (H, W) uint8 class ids each."""
        known = true_ids < self.num_classes
        distance = border_distance(true_ids, self.num_classes) - 1
        wrong = known & (predicted_ids != true_ids)
        self.pixels += np.bincount(distance[known], minlength=FARTHEST_PX + 1)
        self.errors += np.bincount(distance[wrong], minlength=FARTHEST_PX + 1)

    @property
    def share_of_errors(self) -> npt.NDArray[np.float64]:
        """(FARTHEST_PX,) float64: share of all errors within 1, 2, ... pixels of a border."""
        return _cumulative(self.errors)

    @property
    def share_of_pixels(self) -> npt.NDArray[np.float64]:
        """(FARTHEST_PX,) float64: share of all pixels within as much."""
        return _cumulative(self.pixels)


def _cumulative(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    total = counts.sum()
    if not total:
        return np.full(FARTHEST_PX, np.nan)
    share: npt.NDArray[np.float64] = counts.cumsum()[:-1] / total
    return share
