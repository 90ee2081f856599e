"""Boundary F1 (BF): how well the outlines of the classes are drawn.

Csurka, Larlus and Perronnin, "What is a good evaluation measure for semantic segmentation?",
BMVC 2013, as used by the SegNet paper (section 3.3). For each class of an image, precision is the
share of predicted boundary pixels that lie within a tolerance of a true boundary pixel of that
class, recall the share of true ones within the tolerance of a predicted one, and F1 their
harmonic mean. The tolerance is 0.75 % of the image diagonal: 4.5 pixels at 480x360. F1 is
averaged over the classes of the image, then over images.

What the definition leaves open, and what is done here:

- A boundary pixel is a pixel with a direct neighbour (up, down, left, right) of another class; it
  belongs to its own class. The image's edge is no boundary.
- Void is ignored: what was predicted on void pixels does not count, and a border against void is
  no boundary, in the truth or in the prediction, since nobody recorded where the class ends.
  (The authors' script counts such borders.)
- Matching is by distance, as Csurka et al. define it; the authors' script pairs pixels one to one.
- The paper averages the classes of the ground truth; its script also counts a class that is only
  predicted, with an F1 of 0. Both averages are reported.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.labels import NUM_CLASSES
from roadseg.core.types import Labels

TOLERANCE = 0.0075
"""Tolerance as a share of the image diagonal."""


def boundary_map(ids: Labels, known: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels with a direct neighbour of another class.

    Args:
        ids: (H, W) uint8 class ids.
        known: (H, W) bool, False at void: such a pixel is no boundary and makes none.

    Returns:
        (H, W) bool.

    >>> ids = np.array([[0, 0, 0, 1, 1]], np.uint8)
    >>> boundary_map(ids, np.ones((1, 5), bool)).astype(int)
    array([[0, 0, 1, 1, 0]])
    """
    edge = np.zeros(ids.shape, bool)
    rows = (ids[1:] != ids[:-1]) & known[1:] & known[:-1]
    edge[1:] |= rows
    edge[:-1] |= rows
    columns = (ids[:, 1:] != ids[:, :-1]) & known[:, 1:] & known[:, :-1]
    edge[:, 1:] |= columns
    edge[:, :-1] |= columns
    return edge


def boundary_f1(
    predicted_ids: Labels, true_ids: Labels, num_classes: int = NUM_CLASSES
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """Boundary F1 of each class in one image.

    Args:
        predicted_ids: (H, W) uint8 class ids, 0..num_classes-1.
        true_ids: (H, W) uint8 class ids; ids from num_classes up are void.
        num_classes: classes to score.

    Returns:
        (num_classes,) float64 F1, 0..1, NaN for a class without a boundary in either, and
        (num_classes,) bool, True for a class with a boundary in the truth.

    Raises:
        ValueError: the two are not of one (H, W) shape.
    """
    if predicted_ids.ndim != 2 or predicted_ids.shape != true_ids.shape:
        raise ValueError(
            f"expected predicted and true ids of one (H, W) shape, "
            f"got {predicted_ids.shape} and {true_ids.shape}"
        )
    tolerance_px = TOLERANCE * math.hypot(*true_ids.shape)
    known = true_ids < num_classes
    predicted_edge = boundary_map(predicted_ids, known)
    true_edge = boundary_map(true_ids, known)
    f1 = np.full(num_classes, np.nan)
    in_truth = np.zeros(num_classes, bool)
    for c in range(num_classes):
        predicted = predicted_edge & (predicted_ids == c)
        true = true_edge & (true_ids == c)
        in_truth[c] = true.any()
        in_prediction = predicted.any()
        if in_truth[c] and in_prediction:
            precision = _share_near(predicted, true, tolerance_px)
            recall = _share_near(true, predicted, tolerance_px)
            total = precision + recall
            f1[c] = 2 * precision * recall / total if total else 0.0
        elif in_truth[c] or in_prediction:
            f1[c] = 0.0
    return f1, in_truth


class BoundaryF1:
    """Boundary F1 over a data set.

    Attributes:
        images: images counted so far.
    """

    def __init__(self, num_classes: int = NUM_CLASSES) -> None:
        self.num_classes = num_classes
        self.images = 0
        self._ground_truth: list[float] = []
        self._union: list[float] = []
        self._class_sums = np.zeros(num_classes)
        self._class_images = np.zeros(num_classes, np.int64)

    def update(self, predicted_ids: Labels, true_ids: Labels) -> None:
        """Count one image; arguments and errors as in `boundary_f1`."""
        f1, in_truth = boundary_f1(predicted_ids, true_ids, self.num_classes)
        self.images += 1
        self._class_sums[in_truth] += f1[in_truth]
        self._class_images += in_truth
        if in_truth.any():
            self._ground_truth.append(float(f1[in_truth].mean()))
        either = ~np.isnan(f1)
        if either.any():
            self._union.append(float(f1[either].mean()))

    @property
    def ground_truth(self) -> float:
        """The paper's average: over each image's true classes, then over images.

        An image without a true boundary has no score; NaN when no image has one.
        """
        return _mean(self._ground_truth)

    @property
    def union(self) -> float:
        """The script's average: a class that is only predicted counts as 0."""
        return _mean(self._union)

    @property
    def per_class(self) -> npt.NDArray[np.float64]:
        """(num_classes,) float64: F1 over the images whose truth has a boundary of the class.

        NaN for a class that no truth has.
        """
        f1 = np.full(self.num_classes, np.nan)
        np.divide(self._class_sums, self._class_images, out=f1, where=self._class_images > 0)
        return f1


def _share_near(
    points: npt.NDArray[np.bool_], targets: npt.NDArray[np.bool_], tolerance_px: float
) -> float:
    # Distance of every pixel to the nearest target: exact, unlike the 3x3 and 5x5 masks.
    away = np.where(targets, np.uint8(0), np.uint8(1))
    distance_px = cv2.distanceTransform(away, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return float((distance_px[points] <= tolerance_px).mean())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
