"""Lines over the road: where the free space ends in each column, and the corridor's outline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.planes import Colours, Planes
from roadseg.core.types import Picture, size_of

__all__ = ["Guides", "draw_guides"]

_SHIFT = 4
"""Bits behind the point in OpenCV's coordinates."""

# Greys, which look the same on every palette and have one colour in planes. The dark rim carries
# the light line over bright pictures.
_RIM, _FREE, _CORRIDOR = 20, 255, 190

_NO_COLOUR = (128,)
_EDGE = 1e-3
"""So near to the picture's edge, in shares of its sides, is on it."""

_Lines: TypeAlias = list[npt.NDArray[np.float64]]
"""(points, 2) each: x and y, in shares of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Guides:
    """Where the lines are, in shares of the picture: x to the right, y down.

    Attributes:
        free: (n,) float64: where the free space ends in each of n equally wide parts of the
            picture, 0 at its upper edge, 1 at its lower one. At the edges themselves there is no
            line: no road begins there, or it does not end in the picture.
        corridor: corners (x, y) of the corridor; they may lie outside of the picture.
    """

    free: npt.NDArray[np.float64]
    corridor: Sequence[tuple[float, float]]


def draw_guides(picture: Picture, guides: Guides) -> None:
    """Draw the lines onto a picture, in place; 0.2 to 0.3 ms at 960x540.

    Args:
        picture: (H, W, 3) uint8 BGR, or planes; may be a part of a larger picture.
        guides: the lines.
    """
    bright, colours = picture, None
    if isinstance(picture, Planes):
        bright, colours = picture.y, picture.colours
    size_hw = size_of(picture)
    thin = max(round(size_hw[0] / 540), 1)
    rim = thin + 2 * max(round(size_hw[0] / 720), 1)
    drawn = (_outline(guides.corridor), _CORRIDOR), (_ends(guides.free, size_hw[0]), _FREE)
    for lines, grey in drawn:
        placed = _placed(lines, size_hw)
        # The rim's stairs cannot be seen, and smooth thick lines cost four times as much.
        cv2.polylines(bright, placed, False, _level(_RIM, colours), rim, cv2.LINE_8, _SHIFT)
        cv2.polylines(bright, placed, False, _level(grey, colours), thin, cv2.LINE_AA, _SHIFT)
    if isinstance(picture, Planes):
        lines = [line for lines, _ in drawn for line in lines]
        placed = _placed(lines, picture.u.shape)
        for plane in (picture.u, picture.v):
            cv2.polylines(plane, placed, False, _NO_COLOUR, (rim + 1) // 2, cv2.LINE_8, _SHIFT)


def _outline(corners: Sequence[tuple[float, float]]) -> _Lines:
    """Without the edges that lie along the picture's own, or beyond."""
    edges = zip(corners, (*corners[1:], *corners[:1]), strict=True)
    return [
        np.array(edge, np.float64)
        for edge in edges
        if not any(max(ends) < _EDGE or min(ends) > 1 - _EDGE for ends in zip(*edge, strict=True))
    ]


def _ends(free: npt.NDArray[np.float64], height: int) -> _Lines:
    """Of the free space: a line for each stretch of parts in which it ends in the picture."""
    parts = np.arange(-1, free.size + 1)  # the outermost ones go on to the picture's edge
    x, y = ((parts + 0.5) / free.size).clip(0, 1), free.take(parts, mode="clip")
    points = np.stack([x, y], axis=1)
    seen = (y * height > 1) & ((1 - y) * height > 1)
    breaks = np.flatnonzero(seen[1:] != seen[:-1]) + 1
    stretches = np.split(points, breaks)
    return stretches[::2] if seen[0] else stretches[1::2]


def _placed(lines: _Lines, size_hw: tuple[int, ...]) -> list[npt.NDArray[np.int32]]:
    """In OpenCV's coordinates, whose whole numbers are centres of pixels."""
    size_wh = np.array([size_hw[1], size_hw[0]])
    return [np.rint((line * size_wh - 0.5) * (1 << _SHIFT)).astype(np.int32) for line in lines]


@lru_cache
def _level(grey: int, colours: Colours | None) -> tuple[float, ...]:
    """A grey as BGR, or as brightness in planes."""
    if colours is None:
        return (grey, grey, grey)
    return (float(round(float(colours.of([grey] * 3)[0]))),)
