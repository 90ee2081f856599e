"""The frames a network is worst and best at, and pictures of them."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from roadseg.core.labels import CAMVID, NUM_CLASSES, ClassSet, palette_bgr
from roadseg.core.types import Image, Labels
from roadseg.evaluation.evaluate import FrameResult
from roadseg.evaluation.report.borders import border_distance
from roadseg.metrics.confusion import ConfusionMatrix

BORDER_ERROR_RGB = (255, 196, 61)
"""Colour of a wrong pixel near a true border."""

INNER_ERROR_RGB = (214, 40, 96)
"""Colour of a wrong pixel inside a region."""


@dataclass(frozen=True)
class RankedFrame:
    """A frame's place in the drive, its mIoU over the classes of its truth, and its pictures.

    Attributes:
        index: 0-based position in the data set.
        miou: 0..1.
        pictures: what `draw` made of it.
    """

    index: int
    miou: float
    pictures: dict[str, bytes]


class Extremes:
    """The frames with the lowest mIoU and those with the highest, none next to another.

    Frames of a drive resemble their neighbours; three pictures of one scene would show no more
    than one. Frames are chosen greedily among the most extreme ones of each quarter of a gap, for
    all of them would not fit into memory.

    Args:
        draw: encoded pictures of a frame by name; called for each of those.
        count: frames of each kind.
        gap: frames between two of one kind, at least; 1 admits neighbours.
        num_classes: true ids from here up are void.
    """

    def __init__(
        self,
        draw: Callable[[FrameResult], dict[str, bytes]],
        count: int = 3,
        gap: int = 1,
        num_classes: int = NUM_CLASSES,
    ) -> None:
        self._draw, self._count, self._gap, self._num_classes = draw, count, gap, num_classes
        self._part_frames = max(1, gap // 4)
        self._part = 0
        self._lowest: tuple[float, FrameResult] | None = None
        self._highest: tuple[float, FrameResult] | None = None
        self._candidates: list[RankedFrame] = []

    def update(self, result: FrameResult) -> None:
        """Look at the next frame; one without any true class is passed over."""
        part = result.index // self._part_frames
        if part != self._part:
            self._finish_part()
            self._part = part
        miou = frame_miou(result.predicted_ids, result.true_ids, self._num_classes)
        if math.isnan(miou):
            return
        if self._lowest is None or miou < self._lowest[0]:
            self._lowest = (miou, result)
        if self._highest is None or miou > self._highest[0]:
            self._highest = (miou, result)

    def worst(self) -> list[RankedFrame]:
        """From the worst on."""
        return self._choose(1)

    def best(self) -> list[RankedFrame]:
        """From the best on."""
        return self._choose(-1)

    def _choose(self, sign: int) -> list[RankedFrame]:
        self._finish_part()
        chosen: list[RankedFrame] = []
        for frame in sorted(self._candidates, key=lambda f: (sign * f.miou, f.index)):
            if all(abs(frame.index - other.index) >= self._gap for other in chosen):
                chosen.append(frame)
        return chosen[: self._count]

    def _finish_part(self) -> None:
        extremes = {found[1].index: found for found in (self._lowest, self._highest) if found}
        self._candidates += [
            RankedFrame(index, miou, self._draw(result))
            for index, (miou, result) in extremes.items()
        ]
        self._lowest = self._highest = None


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
        classes: what the labels name; ids behind them are void.

    Returns:
        (H, W, 3) uint8 BGR pictures by name: `frame`, `truth`, `prediction` and `errors`, which
        is the frame in grey under the wrong pixels, void darkened.
    """
    pictures = {"frame": result.image_bgr}
    palette = palette_bgr(classes=classes)
    for name, ids in (("truth", result.true_ids), ("prediction", result.predicted_ids)):
        known = ids < classes.num_classes
        colours = palette[np.minimum(ids, classes.void_id)]
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
