"""Labels from scores, as fast as OpenCV compares."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Labels


def best_classes(scores: npt.NDArray[np.float32], out: Labels | None = None) -> Labels:
    """The class of the highest score in each pixel, the lowest id of equals.

    It is `scores.argmax(axis=0)` in a tenth of the time.

    >>> best_classes(np.array([[[1.0, 0.0, 2.0]], [[0.0, 3.0, 2.0]]], np.float32))
    array([[0, 1, 0]], dtype=uint8)

    Args:
        scores: (classes, h, w) float32.
        out: (h, w) uint8 to write to; a new one without.

    Returns:
        (h, w) uint8, the caller's own.
    """
    ids: Labels = np.empty(scores.shape[1:], np.uint8) if out is None else out
    ids.fill(0)
    highest = np.array(scores[0], np.float32)
    for class_id, score in enumerate(scores[1:], 1):
        better = cv2.compare(score, highest, cv2.CMP_GT).reshape(ids.shape)
        cv2.max(score, highest, dst=highest)
        np.putmask(ids, better, class_id)
    return ids


def best_of_each(scores: npt.NDArray[np.float32]) -> Labels:
    """`best_classes` of several frames.

    Args:
        scores: (N, classes, h, w) float32.

    Returns:
        (N, h, w) uint8, the caller's own.
    """
    ids: Labels = np.empty((scores.shape[0], *scores.shape[2:]), np.uint8)
    for own, of_frame in zip(ids, scores, strict=True):
        best_classes(of_frame, own)
    return ids
