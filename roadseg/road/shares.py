"""Shares: how much of the picture each class covers."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Labels
from roadseg.road.areas import Area, IgnoreMask, Mask, counted
from roadseg.road.vocabulary import Vocabulary, check_labels

Shares = npt.NDArray[np.float64]
"""(num_classes,) float64, 0 to 1, by class id; sums to 1, or is NaN where nothing counts."""


def pixel_counts(labels: Labels, mask: Mask | None = None) -> npt.NDArray[np.int64]:
    """(256,) int64: pixels of each id, of those where a mask is not 0."""
    # Ten times as fast as np.bincount; its float32 counts are exact up to 2**24.
    rows = max((1 << 24) // labels.shape[1], 1)
    total = np.zeros(256, np.int64)
    for top in range(0, labels.shape[0], rows):
        part = None if mask is None else mask[top : top + rows]
        counts = cv2.calcHist([labels[top : top + rows]], [0], part, [256], [0, 256])
        total += counts.ravel().astype(np.int64)
    return total


def shares(
    labels: Labels,
    words: Vocabulary,
    area: Area | None = None,
    ignore: IgnoreMask | None = None,
) -> Shares:
    """The share of each class among the pixels that count.

    Ignored pixels do not count, nor do those that have no class (void).

    >>> labels = np.array([[0, 0, 3, 3], [3, 3, 3, 9]], np.uint8)
    >>> each = shares(labels, Vocabulary())
    >>> each[[0, 3, 9]], float(each.sum())
    (array([0.25 , 0.625, 0.125]), 1.0)

    Args:
        labels: (h, w) uint8 class ids.
        words: what the ids mean.
        area: count only here; None for the whole picture.
        ignore: what does not count.

    Returns:
        (num_classes,) float64; NaN throughout where nothing counts.

    Raises:
        ValueError: not (h, w) uint8 labels.
        UsageError: the ignore mask leaves nothing of the picture.
    """
    check_labels(labels)
    size_hw = (labels.shape[0], labels.shape[1])
    counts = pixel_counts(labels, counted(area, ignore, size_hw))[: words.classes.num_classes]
    total = int(counts.sum())
    return counts / total if total else np.full(len(counts), np.nan)


def share_of(each: Shares, words: Vocabulary, name: str = "road") -> float:
    """The share of a class or group, `road` by default, among `shares`.

    >>> words = Vocabulary()
    >>> share_of(shares(np.array([[3, 3, 9, 10]], np.uint8), words), words, "people")
    0.5

    Raises:
        UsageError: the name means nothing in these classes; the message says how to map it.
    """
    return float(each[list(words.ids(name))].sum())
