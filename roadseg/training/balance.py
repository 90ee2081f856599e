"""Class weights: from the labels, or as the paper's authors published them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.core.cache import keep_in_cache, user_cache_dir
from roadseg.core.errors import UsageError
from roadseg.core.labels import CAMVID, NUM_CLASSES, ClassSet
from roadseg.core.types import Labels
from roadseg.datasets.labelled import LabelledSet

CAFFE_WEIGHTS = (
    *(0.2595, 0.1826, 4.5640, 0.1417, 0.9051, 0.3826),
    *(9.6446, 1.8418, 0.6823, 6.2478, 7.3614),
)
"""Of the 11 CamVid classes, in the authors' Caffe files.

They do not follow from the 367 label files: a sign has 3.8 under either definition of frequency.
"""

CAMVID_RARE_IDS = tuple(
    CAMVID.names.index(name) for name in ("pole", "sign", "fence", "pedestrian", "bicyclist")
)
"""What some crops of road scenes are centred on."""

# Elsewhere a class is rare with a smaller share of the labelled pixels than this.
_RARE_SHARE = 0.02

# Bounds the weight of the rarest class at 50 (Paszke et al. 2016, section 5.2).
_LOG_OFFSET = 1.02


@dataclass(frozen=True)
class ClassFrequencies:
    """How often each class occurs, void left out.

    Attributes:
        pixels: (C,) labelled pixels of each class.
        shown: (C,) labelled pixels, of any class, in the images where the class occurs.
    """

    pixels: npt.NDArray[np.int64]
    shown: npt.NDArray[np.int64]

    @classmethod
    def of(cls, labels: Iterable[Labels], num_classes: int = NUM_CLASSES) -> ClassFrequencies:
        """Count (H, W) uint8 label images; ids from `num_classes` on are void."""
        pixels, shown = np.zeros((2, num_classes), np.int64)
        for ids in labels:
            counts = np.bincount(ids.ravel(), minlength=256)[:num_classes]
            pixels += counts
            shown += np.where(counts > 0, counts.sum(), 0)
        return cls(pixels, shown)


def class_frequencies(data: LabelledSet) -> ClassFrequencies:
    """Count the labels of a data set, once: the counts are kept in the user's cache.

    Raises:
        DataError: a label image is unusable.
    """
    path = user_cache_dir() / "class-frequencies" / f"{_fingerprint(data)}.json"
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        kept = ClassFrequencies(*(np.array(raw[key], np.int64) for key in ("pixels", "shown")))
        if kept.pixels.shape == kept.shown.shape == (data.classes.num_classes,):
            return kept
    except (OSError, ValueError, KeyError, TypeError):
        pass  # absent or damaged: counted again
    labels = (data.labels(i) for i in range(len(data)))
    counted = ClassFrequencies.of(labels, data.classes.num_classes)
    text = json.dumps({"pixels": counted.pixels.tolist(), "shown": counted.shown.tolist()})
    keep_in_cache(path, text.encode("utf-8"))
    return counted


def check_weighting(weighting: str, classes: ClassSet) -> None:
    """Refuse published weights for other classes than those they were published for.

    Raises:
        UsageError: `caffe`, and not CamVid's classes.
    """
    if weighting == "caffe" and not classes.same_classes(CAMVID):
        raise UsageError(
            "class_weighting 'caffe' holds published weights of CamVid's 11 classes, and the "
            f"data has {classes}",
            fix="use median in the recipe, or another that follows from the labels",
        )


def rare_ids(frequencies: ClassFrequencies, classes: ClassSet) -> tuple[int, ...]:
    """Ids of the classes that some crops are centred on: those that chance seldom shows.

    Of CamVid these are the poles, signs, fences, pedestrians and bicyclists; elsewhere the
    classes that have less than 2% of the labelled pixels, and some.
    """
    if classes.same_classes(CAMVID):
        return CAMVID_RARE_IDS
    pixels = frequencies.pixels
    rare = (pixels > 0) & (pixels < _RARE_SHARE * pixels.sum())
    return tuple(int(i) for i in np.flatnonzero(rare))


def class_weights(
    frequencies: ClassFrequencies, weighting: str, classes: ClassSet = CAMVID
) -> npt.NDArray[np.float32]:
    """Weights of the classes in the cross-entropy.

    Args:
        frequencies: of the training labels.
        classes: what they count.
        weighting: one of `roadseg.training.recipes.WEIGHTINGS`. `none`: all 1.
            `median`: median frequency / frequency, where frequency is the share of all labelled
            pixels.
            `median-present`: the same, where frequency is the share of the pixels of the images
            in which the class occurs (Eigen and Fergus 2015, section 6.3.2; the paper's text).
            `sqrt-median`: the square root of `median`, which favours rare classes without giving
            up mIoU of common ones.
            `log`: 1 / ln(1.02 + frequency) (Paszke et al. 2016, section 5.2).
            `caffe`: as the paper's authors published them for CamVid.

    Returns:
        (C,) float32; a class without a pixel has weight 0.

    Raises:
        UsageError: see `check_weighting`.
    """
    check_weighting(weighting, classes)
    pixels = frequencies.pixels.astype(np.float64)
    if weighting == "none":
        return np.ones(len(pixels), np.float32)
    if weighting == "caffe":
        return np.array(CAFFE_WEIGHTS, np.float32)
    present = pixels > 0
    of = frequencies.shown if weighting == "median-present" else pixels.sum()
    frequency = np.divide(pixels, of, where=present, out=np.zeros_like(pixels))
    if weighting == "log":
        weights = np.where(present, 1 / np.log(_LOG_OFFSET + frequency), 0)
    else:
        weights = np.zeros_like(frequency)
        weights[present] = np.median(frequency[present]) / frequency[present]
        if weighting == "sqrt-median":
            weights = np.sqrt(weights)
    return weights.astype(np.float32)


def _fingerprint(data: LabelledSet) -> str:
    """Changes with the classes, and when a label file is added, removed, replaced or edited."""
    digest = hashlib.sha256(repr(data.classes.names).encode())
    for _image, label in data.pairs:
        path = Path(label)
        stat = path.stat() if path.exists() else None
        facts = (str(path.resolve()), stat and (stat.st_size, stat.st_mtime_ns))
        digest.update(repr(facts).encode())
    return digest.hexdigest()[:32]
