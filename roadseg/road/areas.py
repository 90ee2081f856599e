"""Areas of the picture: polygons that a user draws, and what is left out of every count.

Points are fractions of the picture, x to the right and y down, (0, 0) its upper left corner and
(1, 1) its lower right one, so that they fit a label map of any size. A pixel belongs to a polygon
when its centre lies inside.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError, os_reason
from roadseg.core.wording import option

Points = Sequence[tuple[float, float]]
"""Corners (x, y) of a polygon, as fractions of the picture."""

Mask = npt.NDArray[np.uint8]
"""(h, w) uint8, 255 inside, else 0."""

_MOST_FRACTION = 2


def parse_points(text: str, picture_hw: tuple[int, int] | None = None) -> list[tuple[float, float]]:
    """Read corners: `"0.1,1 0.45,0.5 0.55,0.5 0.9,1"`.

    Args:
        text: `X,Y` each, with spaces between them; fractions of the picture, or, when one is above
            2, pixels. Corners may lie outside of the picture.
        picture_hw: size of the picture that pixels refer to.

    Returns:
        (x, y) of each, as fractions.

    >>> parse_points("0,240 160,120 320,240", picture_hw=(240, 320))
    [(0.0, 1.0), (0.5, 0.5), (1.0, 1.0)]

    Raises:
        UsageError: not numbers in pairs, fewer than three corners, or pixels without a picture.
    """
    points = []
    for number, pair in enumerate(text.split(), 1):
        match = re.fullmatch(r"([-+]?\d*\.?\d+),([-+]?\d*\.?\d+)", pair)
        if match is None:
            raise UsageError(f"corner {number} is {pair!r}", fix="write X,Y, such as 0.5,1")
        points.append((float(match[1]), float(match[2])))
    # A little above 1 is right of the picture or below it, where an area's corner may well lie.
    if any(value > _MOST_FRACTION for point in points for value in point):
        if picture_hw is None:
            raise UsageError(
                f"corners above {_MOST_FRACTION} are pixels, and the picture's size is unknown",
                fix="write fractions of the picture, 0 to 1",
            )
        height, width = picture_hw
        points = [(x / width, y / height) for x, y in points]
    return points


class Area:
    """A named part of the picture.

    >>> half = Area("left half", [(0, 0), (0.5, 0), (0.5, 1), (0, 1)])
    >>> half.mask((2, 4))
    array([[255, 255,   0,   0],
           [255, 255,   0,   0]], dtype=uint8)

    Args:
        name: what rules and messages call it.
        points: its corners, three or more; outside of 0 to 1 they are cut off at the edge.

    Raises:
        UsageError: fewer than three corners, numbers that are not finite, or nothing of it lies
            in the picture.
    """

    def __init__(self, name: str, points: Points) -> None:
        if len(points) < 3:
            raise UsageError(f"{name} has {len(points)} corners", fix="give three or more")
        if not all(math.isfinite(v) and abs(v) <= 100 for point in points for v in point):
            raise UsageError(
                f"{name} has a corner far outside the picture", fix="use fractions, 0 to 1"
            )
        self.name = name
        self.points = tuple((float(x), float(y)) for x, y in points)
        self._masks: dict[tuple[int, int], Mask] = {}
        if not self.mask((480, 640)).any():
            raise UsageError(
                f"{name} lies outside the picture",
                fix="give its corners as fractions of the picture, from 0,0 (upper left) to 1,1",
            )

    def mask(self, size_hw: tuple[int, int]) -> Mask:
        """(h, w) uint8, 255 inside, for a label map of this size; kept, so do not write into it."""
        if size_hw not in self._masks:
            self._masks[size_hw] = _polygon_mask(self.points, size_hw)
        return self._masks[size_hw]


def _polygon_mask(points: Points, size_hw: tuple[int, int]) -> Mask:
    """Pixels whose centres lie inside: even-odd, exact for polygons of any size.

    `cv2.fillPoly` also paints every pixel that an edge touches, which makes small areas too large.
    """
    height, width = size_hw
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    inside = np.zeros(size_hw, bool)
    # A trifle wider, so that a centre on the edge is inside on the left as well as on the right.
    middle = (min(x for x, _ in points) + max(x for x, _ in points)) / 2
    points = [(at_x + (at_x - middle) * 1e-9, at_y) for at_x, at_y in points]
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if y0 == y1:
            continue
        crosses = (y0 <= y) != (y1 <= y)
        at = x0 + (y - y0) * ((x1 - x0) / (y1 - y0))
        inside ^= crosses[:, None] & (x[None, :] < at[:, None])
    return inside.astype(np.uint8) * np.uint8(255)


class IgnoreMask:
    """What is neither coloured nor counted: the bonnet, wipers, a burned-in time stamp.

    >>> mask = IgnoreMask(np.array([[False, False], [True, True]]))
    >>> mask.counts((2, 2))
    array([[255, 255],
           [  0,   0]], dtype=uint8)

    Args:
        ignored: (H, W) bool, True where pixels are left out.

    Attributes:
        size_hw: size of the mask as made; None for polygons, which have none.
        share: share of the picture that is ignored, 0 to 1.

    Raises:
        UsageError: every pixel would be ignored.
    """

    def __init__(self, ignored: npt.NDArray[np.bool_]) -> None:
        self._ignored: Mask = np.ascontiguousarray(ignored, np.uint8) * np.uint8(255)
        self.size_hw: tuple[int, int] | None = (ignored.shape[0], ignored.shape[1])
        self.share = float(ignored.mean())
        self._masks: dict[tuple[int, int], Mask] = {}
        if self.share == 1:
            raise UsageError(
                "the ignore mask leaves nothing of the picture",
                fix="paint white only what should not count",
            )

    @classmethod
    def from_png(cls, path: Path | str) -> IgnoreMask:
        """Read a picture: white is ignored, black and what is transparent counts.

        Raises:
            UsageError: it cannot be read, or all of it is white.
        """
        path = Path(path)
        try:
            data = np.frombuffer(path.read_bytes(), np.uint8)
        except OSError as exc:
            raise UsageError(
                f"cannot read the ignore mask {path}: {os_reason(exc)}",
                fix=f"give a PNG with {option('--ignore-mask')}",
            ) from exc
        try:
            picture = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
        except cv2.error:
            picture = None
        if picture is None:
            raise UsageError(f"the ignore mask {path} is not a picture", fix="save it as PNG")
        if picture.dtype == np.uint16:
            picture = (picture >> 8).astype(np.uint8)
        grey = picture if picture.ndim == 2 else picture[..., :3].max(axis=2)
        ignored = grey > 127
        if picture.ndim == 3 and picture.shape[2] == 4:
            ignored &= picture[..., 3] > 127
        return cls(ignored)

    @classmethod
    def from_polygons(cls, polygons: Sequence[Points]) -> IgnoreMask:
        """Ignore the inside of polygons; corners are fractions of the picture.

        >>> bonnet = IgnoreMask.from_polygons([[(0, 0.5), (1, 0.5), (1, 1), (0, 1)]])
        >>> bonnet.counts((2, 1))
        array([[255],
               [  0]], dtype=uint8)

        Raises:
            UsageError: as `Area`, or they cover the whole picture.
        """
        areas = [Area(f"ignored area {i}", points) for i, points in enumerate(polygons, 1)]
        size_hw = (480, 640)
        ignored = np.zeros(size_hw, bool)
        for area in areas:
            ignored |= area.mask(size_hw) > 0
        mask = cls(ignored)
        mask.size_hw = None
        mask._areas = areas
        return mask

    _areas: Sequence[Area] = ()

    def counts(self, size_hw: tuple[int, int]) -> Mask:
        """Where pixels count, for a label map of this size; kept, so do not write into it.

        Returns:
            (h, w) uint8, 0 where ignored, else 255. A pixel is ignored when at least half of it
            is, so that a mask that is scaled down loses nothing but thin lines.

        Raises:
            UsageError: at this size nothing would be left.
        """
        if size_hw not in self._masks:
            self._masks[size_hw] = self._scaled(size_hw)
        return self._masks[size_hw]

    def _scaled(self, size_hw: tuple[int, int]) -> Mask:
        if self._areas:
            ignored = np.zeros(size_hw, np.uint8)
            for area in self._areas:
                ignored |= area.mask(size_hw)
        elif size_hw == self.size_hw:
            ignored = self._ignored
        else:
            ignored = cv2.resize(self._ignored, size_hw[::-1], interpolation=cv2.INTER_AREA)
        counts: Mask = np.where(ignored > 127, 0, 255).astype(np.uint8)
        if not counts.any():
            raise UsageError(
                f"the ignore mask leaves nothing of a {size_hw[0]}x{size_hw[1]} label map",
                fix="ignore less",
            )
        return counts

    def note(self, picture_hw: tuple[int, int]) -> str | None:
        """What to tell a user whose mask has another size than the picture; None where it fits."""
        if self.size_hw is None or self.size_hw == picture_hw:
            return None
        (height, width), (rows, columns) = self.size_hw, picture_hw
        note = f"the ignore mask is {width}x{height} and the picture {columns}x{rows}: it is scaled"
        if abs(width * rows - height * columns) > 0.02 * height * columns:
            note += ", and its shape with it"
        return note


def counted(area: Area | None, ignore: IgnoreMask | None, size_hw: tuple[int, int]) -> Mask | None:
    """Where pixels of an area count: (h, w) uint8, 255 or 0; None for all of the picture."""
    if area is None:
        return None if ignore is None else ignore.counts(size_hw)
    mask = area.mask(size_hw)
    return mask if ignore is None else cv2.bitwise_and(mask, ignore.counts(size_hw))
