"""Finds the bonnet: what goes along with the camera at the lower edge of a clip's pictures."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image
from roadseg.road.areas import IgnoreMask

LEAST_FRAMES = 12
"""Fewer frames do not tell what moves from what stays."""

_WIDTH = 240
_HIGHEST = 0.55  # of the picture's height: a bonnet ends below
_STILL = 0.25  # of the change over time that three in four pixels do not exceed
_LEAST_CHANGE = 6.0  # grey levels: below, the car stands
_EDGE = 6.0  # grey levels a pixel
_COLUMNS = 0.6  # of the picture's width must show the bonnet's edge
_MOST_FRAMES = 64


def find_bonnet(frames: Iterable[Image]) -> IgnoreMask | None:
    """Propose an ignore mask for a bonnet or a dashboard across the lower edge.

    The edge of a bonnet is in the same place in four of five frames, while what moves leaves none
    that stays; what lies below it hardly changes. Both must be so in most columns.

    Args:
        frames: (H, W, 3) uint8 BGR of one clip, all of one size, some tenths of a second apart so
            that the world has moved; of more than 64 the first are taken. While the car stands,
            nothing can be told.

    Returns:
        A mask of the frames' size; None where there is no bonnet, fewer than `LEAST_FRAMES`
        frames, or nothing moves. Look at it before you use it.

    Raises:
        ValueError: frames differ in size.

    >>> rng = np.random.default_rng(0)
    >>> frames_bgr = rng.integers(0, 255, (20, 120, 160, 3), np.uint8)   # all moves, except for
    >>> frames_bgr[:, 100:] = 40                                         # the lower 20 rows
    >>> mask = find_bonnet(frames_bgr)
    >>> int((mask.counts((120, 160))[:, 80] == 255).sum())               # rows that count
    98
    """
    grey: list[npt.NDArray[np.float32]] = []
    size_hw: tuple[int, int] | None = None
    for frame_bgr in frames:
        if size_hw is None:
            size_hw = (frame_bgr.shape[0], frame_bgr.shape[1])
        elif frame_bgr.shape[:2] != size_hw:
            raise ValueError(f"expected frames of one size, {size_hw}, got {frame_bgr.shape[:2]}")
        grey.append(_small_grey(frame_bgr))
        if len(grey) == _MOST_FRAMES:
            break
    if size_hw is None or len(grey) < LEAST_FRAMES:
        return None
    stack = np.stack(grey)
    change = stack.std(axis=0)
    usual = float(np.percentile(change, 75))
    if usual < _LEAST_CHANGE:
        return None
    edge = np.percentile([_steepness(each) for each in stack], 20, axis=0) >= _EDGE
    still = cv2.blur(change.astype(np.float32), (3, 3)) < max(_STILL * usual, _LEAST_CHANGE)
    top = _tops(still, edge)
    found = top >= 0
    if found.mean() < _COLUMNS:
        return None
    columns = np.arange(len(top))
    top = np.interp(columns, columns[found], _steadied(top[found]))
    height, width = size_hw
    scaled = np.interp(np.linspace(0, len(top) - 1, width), columns, top)
    first = scaled * height / stack.shape[1] - 0.5
    return IgnoreMask(np.arange(height)[:, None] >= first[None, :])


def _small_grey(frame_bgr: Image) -> npt.NDArray[np.float32]:
    height, width = frame_bgr.shape[:2]
    if width > _WIDTH:
        size_wh = (_WIDTH, max(round(height * _WIDTH / width), 1))
        frame_bgr = cv2.resize(frame_bgr, size_wh, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(frame_bgr, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.blur(grey, (3, 3)), np.float32).reshape(grey.shape)


def _steepness(grey: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Grey levels a pixel from each row to the next, (h, w)."""
    steep: npt.NDArray[np.float32] = np.abs(cv2.Sobel(grey, cv2.CV_32F, 0, 1)) / 8
    return steep


def _tops(still: npt.NDArray[np.bool_], edge: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """(w,) the row of the uppermost lasting edge above still pixels; -1 where there is none."""
    height = still.shape[0]
    # How many rows are still from the lower edge on; one that the blur of an edge spoils counts.
    moves = ~still[::-1]
    run = np.where(moves.any(axis=0), moves.argmax(axis=0), height)
    rows = np.arange(height)[:, None]
    reached = (rows >= height - run - 4) & (rows >= _HIGHEST * height) & (rows < height - 2)
    candidates = edge & reached & (run > 2)
    return np.where(candidates.any(axis=0), candidates.argmax(axis=0), -1).astype(np.float64)


def _steadied(top: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The median of 15 columns: a lane marking that seems to go on is no part of the bonnet."""
    wide = np.pad(top, 7, mode="edge")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(wide, 15), axis=1))
