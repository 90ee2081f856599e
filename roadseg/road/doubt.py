"""Doubt: how sure the network is, pixel by pixel, and whether a picture is to be trusted at all.

Scores are what a network gives before it picks a class: (classes, h, w) float32, the higher the
surer; `choose(model).open(size_hw, scores=True)` has them. Their softmax are probabilities.

The entropy of a pixel, divided by the logarithm of the number of classes, is 0 where one class has
all of the probability and 1 where all have as much; the margin is the probability of the best class
less that of the second best. Both are known as measures of uncertainty: Settles, "Active Learning
Literature Survey", 2009, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError
from roadseg.core.scores import best_classes
from roadseg.core.types import Labels

Scores = npt.NDArray[np.float32]
"""(classes, h, w) float32, before the softmax."""

STEP = 4
"""Of the rows and columns, each fourth is enough for a picture's number."""


@dataclass(frozen=True)
class DoubtMaps:
    """How unsure the network is in each pixel.

    Attributes:
        margin: (h, w) float32, 0 to 1: the best class's probability less the second best's.
        entropy: (h, w) float32, 0 (sure) to 1.
    """

    margin: npt.NDArray[np.float32]
    entropy: npt.NDArray[np.float32]


@dataclass(frozen=True)
class Doubt:
    """How unsure the network is of a picture.

    Attributes:
        entropy: mean entropy of its pixels, 0 (sure) to 1: the one number for a picture.
        margin: mean margin of its pixels, 0 to 1 (sure).
        largest_share: share of the class that covers most, 0 to 1. A covered lens is often one
            class, and the network is sure of it.
    """

    entropy: float
    margin: float
    largest_share: float


def doubt_maps(scores: Scores, temperature: float = 1.0) -> DoubtMaps:
    """Margin and entropy of each pixel.

    >>> sure, torn = [9.0, 0.0], [1.0, 1.0]
    >>> maps = doubt_maps(np.array([[[sure[0], torn[0]]], [[sure[1], torn[1]]]], np.float32))
    >>> maps.margin.round(2), maps.entropy.round(2)
    (array([[1., 0.]], dtype=float32), array([[0., 1.]], dtype=float32))

    Args:
        scores: (classes, h, w) float32, two classes or more.
        temperature: scores are divided by it first; above 1 for a network that is surer than it is
            right.

    Raises:
        ValueError: scores of another shape, or a temperature that is not above 0.
    """
    if scores.ndim != 3 or scores.shape[0] < 2 or not scores[0].size:
        raise ValueError(f"expected (classes, h, w) scores of 2 or more classes: {scores.shape}")
    if not temperature > 0:
        raise ValueError(f"expected a temperature above 0, got {temperature}")
    count, *size_hw = scores.shape
    logits = np.ascontiguousarray(scores, np.float32).reshape(count, -1)
    if temperature != 1:
        logits = logits / np.float32(temperature)
    shifted = logits - logits.max(axis=0)
    weight = cv2.exp(shifted).reshape(shifted.shape)
    total = weight.sum(axis=0)
    # -sum(p log p), with log p = shifted - log(total).
    entropy = np.log(total) - np.einsum("cn,cn->n", weight, shifted) / total
    # The best weighs 1; of two that weigh 1 the second is the other.
    best, second = weight[0].copy(), np.zeros_like(weight[0])
    for each in weight[1:]:
        np.maximum(second, np.minimum(best, each), out=second)
        np.maximum(best, each, out=best)
    return DoubtMaps(
        ((1 - second) / total).reshape(size_hw),
        (np.maximum(entropy, 0) / np.float32(np.log(count))).reshape(size_hw),
    )


def picture_doubt(scores: Scores, temperature: float = 1.0, labels: Labels | None = None) -> Doubt:
    """How unsure the network is of a picture, from each fourth row and column.

    >>> scores = np.zeros((11, 8, 8), np.float32)
    >>> doubt = picture_doubt(scores)
    >>> round(doubt.entropy, 2), round(doubt.margin, 2), doubt.largest_share
    (1.0, 0.0, 1.0)

    Args:
        scores, temperature: see `doubt_maps`.
        labels: (h, w) uint8 class ids of these scores, where they are at hand; picked anew if not.

    Raises:
        ValueError: see `doubt_maps`; or labels of another size.
    """
    if scores.ndim != 3:
        raise ValueError(f"expected (classes, h, w) scores, got {scores.shape}")
    start = [min(STEP // 2, side - 1) for side in scores.shape[1:]]
    some = np.ascontiguousarray(scores[:, start[0] :: STEP, start[1] :: STEP], np.float32)
    maps = doubt_maps(some, temperature)
    if labels is None:
        ids = best_classes(some)
    elif labels.shape == scores.shape[1:]:
        ids = labels[start[0] :: STEP, start[1] :: STEP]
    else:
        raise ValueError(f"expected labels of {scores.shape[1:]}, got {labels.shape}")
    classes = np.bincount(ids.ravel())
    return Doubt(
        float(maps.entropy.mean()), float(maps.margin.mean()), float(classes.max() / classes.sum())
    )


@dataclass(frozen=True)
class Trust:
    """When a picture's labels are not to be trusted.

    The limit of the entropy is for `segnet-lite`, its scores divided by its temperature: between
    its clean frames and corrupted ones, of CamVid and of rendered drives; docs/road.md has how
    often it is right. `Trust.fitted` finds the limits of another network.

    >>> Trust().is_doubtful(Doubt(entropy=0.06, margin=0.92, largest_share=0.3))
    False
    >>> Trust().is_doubtful(Doubt(entropy=0.4, margin=0.5, largest_share=0.3))
    True

    Attributes:
        most_entropy: mean entropy above this is doubtful.
        most_share: a class that covers more than this is doubtful.
    """

    most_entropy: float = 0.105
    most_share: float = 0.761

    def is_doubtful(self, doubt: Doubt) -> bool:
        """Whether not to trust a picture."""
        return doubt.entropy > self.most_entropy or doubt.largest_share > self.most_share

    @classmethod
    def fitted(cls, clean: Sequence[Doubt], corrupted: Sequence[Doubt]) -> Trust:
        """The limits between frames that a network knows and frames that it cannot read.

        >>> def of(entropy, share):
        ...     return Doubt(entropy, 1 - entropy, share)
        >>> Trust.fitted([of(0.05, 0.3), of(0.07, 0.4)], [of(0.25, 0.4), of(0.03, 0.98)])
        Trust(most_entropy=0.132, most_share=0.65)

        The most entropy is the geometric mean of the clean frames' 99th percentile and of the
        corrupted frames' 5th, of those above the clean ones; the largest share lies half-way
        between the clean frames' largest and 0.9.

        Raises:
            UsageError: there are no frames of one kind, or the two cannot be told apart.
        """
        if not clean or not corrupted:
            raise UsageError("limits need clean frames and corrupted ones", fix="give some of both")
        usual = float(np.percentile([doubt.entropy for doubt in clean], 99))
        beyond = [doubt.entropy for doubt in corrupted if doubt.entropy > usual]
        if len(beyond) < len(corrupted) / 2:
            raise UsageError(
                "this network is as sure of the corrupted frames as of the clean ones",
                fix="corrupt them more",
            )
        most_entropy = float(np.sqrt(usual * np.percentile(beyond, 5)))
        most_share = (max(doubt.largest_share for doubt in clean) + 0.9) / 2
        return cls(round(most_entropy, 3), round(most_share, 3))
