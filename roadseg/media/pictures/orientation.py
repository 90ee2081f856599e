"""The display matrix of a video: how its pictures are turned and mirrored to be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


Orientation = tuple[int, int, int, int]
"""a, b, c, d, each -1, 0 or 1: the pixel at (x, y) is shown at (a x + c y, b x + d y)."""

UPRIGHT: Orientation = (1, 0, 0, 1)

# What makes each of the eight; turns first, then the mirror of `cv2.flip`.
_STEPS: dict[Orientation, tuple[int | None, int | None]] = {
    UPRIGHT: (None, None),
    (0, 1, -1, 0): (cv2.ROTATE_90_CLOCKWISE, None),
    (-1, 0, 0, -1): (cv2.ROTATE_180, None),
    (0, -1, 1, 0): (cv2.ROTATE_90_COUNTERCLOCKWISE, None),
    (-1, 0, 0, 1): (None, 1),
    (1, 0, 0, -1): (None, 0),
    (0, 1, 1, 0): (cv2.ROTATE_90_CLOCKWISE, 1),
    (0, -1, -1, 0): (cv2.ROTATE_90_CLOCKWISE, 0),
}


def orientation_of(picture: VideoFrame) -> Orientation:
    """What the display matrix of a picture says, to the nearest quarter turn.

    `UPRIGHT` without a matrix, and for one that makes no picture of it.
    """
    data: Any = picture.side_data.get("DISPLAYMATRIX")
    return UPRIGHT if data is None else _nearest(np.frombuffer(bytes(data), dtype="=i4"))


def _nearest(matrix: npt.NDArray[np.int32]) -> Orientation:
    """The one of the eight that is most like a matrix as ISO/IEC 14496-12 stores it, row by row."""
    if matrix.size != 9:
        return UPRIGHT
    a, b, _, c, d = (float(v) for v in matrix[:5])
    likeness = {each: float(np.dot(each, (a, b, c, d))) for each in _STEPS}
    best = max(likeness, key=lambda each: likeness[each])
    return best if likeness[best] > 0 else UPRIGHT


def turn(image_bgr: Image, orientation: Orientation) -> Image:
    """The picture as it is to be shown; itself where it is upright already."""
    rotation, mirror = _STEPS[orientation]
    shown: Image = image_bgr
    if rotation is not None:
        shown = np.asarray(cv2.rotate(shown, rotation), dtype=np.uint8)
    if mirror is not None:
        shown = np.asarray(cv2.flip(shown, mirror), dtype=np.uint8)
    return np.ascontiguousarray(shown)


def swaps_sides(orientation: Orientation) -> bool:
    """Whether width and height change places."""
    return orientation[0] == 0
