"""What a glance at a picture says about the camera: a handful of numbers, in a fifth of a
millisecond at any resolution."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image

Small = npt.NDArray[np.uint8]
"""(h, w) uint8, the green channel at about 128 columns; sides are multiples of `BLOCKS`."""

BLOCKS = 8
"""A picture is divided into so many blocks either way."""

_SMALL_WIDTH = 128
_FOCUS_WIDTH = 480
_FOCUS_ROWS = 16

# Neighbours, and points far enough apart to show the contrast of the scene, in columns of 480.
_NEAR, _FAR = 2, 12

# Where the contrast is lower than this, there is nothing that could be in focus.
_LEAST_CONTRAST = 16.0

# Blocks with less texture than this are noise: sky, walls.
_LEAST_TEXTURE = 4.0
_LEAST_BLOCKS = 6


def small_grey(image_bgr: Image) -> Small:
    """A frame of (H, W, 3), at least 32x32, as a small grey picture."""
    height, width = image_bgr.shape[:2]
    step = max(width // (2 * _SMALL_WIDTH), 1)
    sparse = np.ascontiguousarray(image_bgr[:: 2 * step, ::step, 1])
    h, w = (max(side // (2 * step * BLOCKS), 1) * BLOCKS for side in (height, width))
    return np.asarray(cv2.resize(sparse, (w, h), interpolation=cv2.INTER_AREA), np.uint8)


def percentiles(values: npt.NDArray[np.uint8], *percents: float) -> list[int]:
    """Of 8-bit values; far quicker than NumPy's."""
    counts = np.bincount(values.ravel(), minlength=256).cumsum()
    return [int(np.searchsorted(counts, percent / 100 * counts[-1])) for percent in percents]


def flat_share(small: Small) -> float:
    """Share of the blocks without any structure: 0.0 to 0.5 in road scenes, 1.0 behind a hand."""
    return float((_blocks(small.astype(np.float32)).std(axis=1) < _LEAST_TEXTURE).mean())


def focus(image_bgr: Image) -> float | None:
    """How steep edges are: 0.3 to 0.8 in sharp pictures, below 0.25 out of focus, with a floor of
    0.17. None where there is too little contrast to tell.

    Two columns of 480 apart, the picture changes so much; twelve apart, where also soft edges
    have come to their end, so much more.
    """
    height, width = image_bgr.shape[:2]
    rows = np.linspace(height * 0.08, height * 0.92, _FOCUS_ROWS).astype(int)
    lines = np.ascontiguousarray(image_bgr[rows, :, 1])
    if width != _FOCUS_WIDTH:
        shrinks = width > _FOCUS_WIDTH
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        lines = cv2.resize(lines, (_FOCUS_WIDTH, _FOCUS_ROWS), interpolation=how)
    near = percentiles(cv2.absdiff(lines[:, _NEAR:], lines[:, :-_NEAR]), 99)[0]
    far = percentiles(cv2.absdiff(lines[:, _FAR:], lines[:, :-_FAR]), 99)[0]
    return near / (far + 2) if far >= _LEAST_CONTRAST else None


def likeness(one: Small, other: Small) -> float | None:
    """Whether two pictures show the same view: 1 for the same, about 0 for others.

    The median over blocks, so that traffic does not count, of the correlation of what is finer
    than nine columns, so that light does not. None where there is too little structure to tell.
    """
    if one.shape != other.shape:
        return 0.0
    a, b = _blocks(_detail(one)), _blocks(_detail(other))
    energy_a, energy_b = (a * a).mean(axis=1), (b * b).mean(axis=1)
    textured = np.maximum(energy_a, energy_b) > _LEAST_TEXTURE**2
    if np.count_nonzero(textured) < _LEAST_BLOCKS:
        return None
    product = (a * b).mean(axis=1) / np.sqrt(energy_a * energy_b + 1e-3)
    return float(np.median(product[textured]))


def _detail(small: Small) -> npt.NDArray[np.float32]:
    values = small.astype(np.float32)
    return np.asarray(values - cv2.boxFilter(values, -1, (9, 9)), np.float32)


def _blocks(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(h, w) as (64, pixels of a block)."""
    h, w = values.shape[0] // BLOCKS, values.shape[1] // BLOCKS
    tiled = values.reshape(BLOCKS, h, BLOCKS, w).transpose(0, 2, 1, 3)
    return tiled.reshape(BLOCKS * BLOCKS, h * w)
