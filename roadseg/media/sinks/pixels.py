"""Pictures in the shape and colours that a video encoder takes."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.core.planes import Colours, Plane, Planes
from roadseg.core.types import Image, Picture, as_bgr

__all__ = ["even", "letterbox", "to_planes"]


def to_planes(
    picture: Picture, size_hw: tuple[int, int], colours: Colours, out: Plane | None = None
) -> Planes:
    """A picture as the encoder of a video of that size and those colours takes it.

    Args:
        picture: of any size; one of another is fitted in on black.
        size_hw: of the video; an odd side repeats the last line.
        colours: of the video.
        out: (H * 3 / 2, W) uint8 of the even size, to write to where planes must be made.
    """
    if isinstance(picture, Planes) and (picture.size_hw, picture.colours) == (size_hw, colours):
        return picture
    return Planes.of_bgr(even(letterbox(as_bgr(picture), size_hw)), colours, out)


def even(image_bgr: Image) -> Image:
    """The picture with even sides, as yuv420p needs: an odd side repeats its last line.

    Padding loses nothing, where cropping would lose a line.
    """
    bottom, right = image_bgr.shape[0] % 2, image_bgr.shape[1] % 2
    if not bottom and not right:
        return image_bgr
    padded = cv2.copyMakeBorder(image_bgr, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    return np.asarray(padded, dtype=np.uint8)


def letterbox(image_bgr: Image, size_hw: tuple[int, int]) -> Image:
    """The picture fitted into `size_hw` with its shape kept, on black."""
    height, width = size_hw
    h, w = image_bgr.shape[:2]
    if (h, w) == size_hw:
        return image_bgr
    scale = min(height / h, width / w)
    fit_h, fit_w = max(round(h * scale), 1), max(round(w * scale), 1)
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    top, left = (height - fit_h) // 2, (width - fit_w) // 2
    canvas[top : top + fit_h, left : left + fit_w] = cv2.resize(
        image_bgr, (fit_w, fit_h), interpolation=interpolation
    )
    return canvas
