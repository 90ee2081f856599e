"""Pictures in the shape and colours that a video encoder takes."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image

__all__ = ["even", "letterbox", "to_yuv420p"]

# 224 of 255 levels are used for colour differences.
_CHROMA_SCALE = 224 / 255


def to_yuv420p(image_bgr: Image, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """BT.601, limited range, each colour the mean of its 2x2 block.

    OpenCV's own conversion is exact in brightness, but takes the colour of one pixel of the
    four, which frays the edges of an overlay. That of PyAV (swscale) tints greys: its rounding
    can only be corrected from PyAV 18 on.

    Args:
        image_bgr: (H, W, 3) uint8 BGR, H and W even.
        out: (H * 3 / 2, W) uint8: H rows of brightness, then the two colour planes.

    Returns:
        `out`.
    """
    height, width = image_bgr.shape[:2]
    cv2.cvtColor(image_bgr, cv2.COLOR_BGR2YUV_I420, dst=out)
    half = cv2.resize(image_bgr, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = cv2.convertScaleAbs(
        cv2.cvtColor(half, cv2.COLOR_BGR2YCrCb),
        alpha=_CHROMA_SCALE,
        beta=128 * (1 - _CHROMA_SCALE),
    )
    red_blue = out[height:].reshape(2, height // 2, width // 2)
    red_blue[0] = chroma[..., 2]
    red_blue[1] = chroma[..., 1]
    return out


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
