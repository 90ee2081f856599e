"""The frames a network is worst and best at, and pictures of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from roadseg.evaluation.confusion import ConfusionMatrix
from roadseg.evaluation.evaluate import FrameResult
from roadseg.evaluation.report_borders import border_distance
from roadseg.labels import CAMVID, NUM_CLASSES, ClassSet
from roadseg.types import Image, Labels

__all__ = ["BORDER_ERROR_RGB", "INNER_ERROR_RGB", "Extremes", "RankedFrame", "frame_miou", "paint"]

BORDER_ERROR_RGB = (255, 196, 61)
"""Colour of a wrong pixel near a true border."""

INNER_ERROR_RGB = (214, 40, 96)
"""Colour of a wrong pixel inside a region."""


@dataclass(frozen=True)
class RankedFrame:
    """A frame and its mIoU over the classes of its truth."""

    result: FrameResult
    miou: float


class Extremes:
    """The frames with the lowest mIoU and those with the highest, none next to another.

    Frames of a drive resemble their neighbours; three pictures of one scene would show no more
    than one.

    Args:
        count: frames of each kind.
        gap: frames between two of one kind, at least; 1 admits neighbours.
        num_classes: true ids from here up are void.

    Attributes:
        worst: from the worst on.
        best: from the best on.
    """

    def __init__(self, count: int = 3, gap: int = 1, num_classes: int = NUM_CLASSES) -> None:
        self.count, self.gap, self.num_classes = count, gap, num_classes
        self.worst: list[RankedFrame] = []
        self.best: list[RankedFrame] = []

    def update(self, result: FrameResult) -> None:
        """Look at a frame; one without any true class is passed over."""
        miou = frame_miou(result.predicted_ids, result.true_ids, self.num_classes)
        if math.isnan(miou):
            return
        frame = RankedFrame(result, miou)
        self.worst = self._insert(self.worst, frame, lambda f: f.miou)
        self.best = self._insert(self.best, frame, lambda f: -f.miou)

    def _insert(
        self, kept: list[RankedFrame], new: RankedFrame, rank: Callable[[RankedFrame], float]
    ) -> list[RankedFrame]:
        near = [f for f in kept if abs(f.result.index - new.result.index) < self.gap]
        if any(rank(f) <= rank(new) for f in near):
            return kept
        return sorted([*(f for f in kept if f not in near), new], key=rank)[: self.count]


def frame_miou(predicted_ids: Labels, true_ids: Labels, num_classes: int = NUM_CLASSES) -> float:
    """Mean IoU over the classes of one frame's truth; NaN where all is void."""
    matrix = ConfusionMatrix(num_classes)
    matrix.update(predicted_ids, true_ids)
    present = matrix.matrix.sum(axis=1) > 0
    return float(matrix.per_class_iou[present].mean()) if present.any() else float("nan")


def paint(result: FrameResult, tolerance_px: int, classes: ClassSet = CAMVID) -> dict[str, Image]:
    """Pictures of a frame.

    Args:
        result: the frame, its truth and its labels.
        tolerance_px: an error up to this far from a true border counts as one of the border.
        classes: their colours; ids behind them are void.

    Returns:
        (H, W, 3) uint8 BGR pictures by name: `frame`, `truth`, `prediction` and `errors`, which
        is the frame in grey under the wrong pixels, void darkened.
    """
    pictures = {"frame": result.image_bgr}
    for name, ids in (("truth", result.true_ids), ("prediction", result.predicted_ids)):
        known = ids < classes.num_classes
        colours = classes.palette_bgr[np.minimum(ids, classes.void_id)]
        blended: Image = cv2.addWeighted(result.image_bgr, 0.3, colours, 0.7, 0)
        pictures[name] = np.where(known[..., None], blended, result.image_bgr)
    pictures["errors"] = _errors(result, tolerance_px, classes.num_classes)
    return pictures


def _errors(result: FrameResult, tolerance_px: int, num_classes: int) -> Image:
    grey = cv2.cvtColor(result.image_bgr, cv2.COLOR_BGR2GRAY)
    picture: Image = cv2.cvtColor((grey * 0.45 + 20).astype(np.uint8), cv2.COLOR_GRAY2BGR)
    void = result.true_ids >= num_classes
    picture[void] = picture[void] // 3
    wrong = ~void & (result.predicted_ids != result.true_ids)
    near = border_distance(result.true_ids, num_classes) <= tolerance_px
    picture[wrong & ~near] = INNER_ERROR_RGB[::-1]
    picture[wrong & near] = BORDER_ERROR_RGB[::-1]
    return picture
