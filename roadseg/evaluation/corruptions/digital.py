"""What happens to a picture on its way: contrast, warping, fewer pixels, compression."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image
from roadseg.evaluation.corruptions.scale import as_image, as_unit

_CONTRAST = (0.4, 0.3, 0.2, 0.1, 0.05)
# In shares of 244 pixels: how far pixels move, how smoothly, how far the corners go.
_ELASTIC = (
    (2, 0.7, 0.1),
    (2, 0.08, 0.2),
    (0.05, 0.01, 0.02),
    (0.07, 0.01, 0.02),
    (0.12, 0.01, 0.02),
)
_SIDE = 244
_KEPT = (0.6, 0.5, 0.4, 0.3, 0.25)
_QUALITY = (25, 18, 15, 10, 7)


def contrast(image_bgr: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Every channel nearer to its mean."""
    unit = as_unit(image_bgr)
    mean = unit.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return as_image((unit - mean) * np.float32(_CONTRAST[severity - 1]) + mean)


def pixelate(image_bgr: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Fewer pixels, shown as squares."""
    height, width = image_bgr.shape[:2]
    kept = _KEPT[severity - 1]
    small_wh = (max(1, int(width * kept)), max(1, int(height * kept)))
    small = cv2.resize(image_bgr, small_wh, interpolation=cv2.INTER_AREA)
    squares: Image = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)
    return squares


def jpeg(image_bgr: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Compressed as JPEG, strongly."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY[severity - 1]]
    again = cv2.imdecode(cv2.imencode(".jpg", image_bgr, quality)[1], cv2.IMREAD_COLOR)
    assert again is not None
    return np.asarray(again, np.uint8)


def elastic_map(
    size_hw: tuple[int, int], severity: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where the pixels of a picture that was warped like rubber come from.

    Args:
        size_hw: height and width.
        severity: 1 to 5.
        rng: where the randomness comes from.

    Returns:
        x and y, (h, w) float32, in pixels, as `cv2.remap` takes them.
    """
    height, width = size_hw
    strength, smoothness, corners = (_SIDE * share for share in _ELASTIC[severity - 1])
    # An affine turn that moves three points about the centre, then every pixel for itself.
    centre, third = np.array([width, height]) / 2, min(size_hw) / 3
    points = (centre + third * np.array([[1, 1], [1, -1], [-1, -1]])).astype(np.float32)
    moved = points + rng.uniform(-corners, corners, points.shape).astype(np.float32)
    back = cv2.getAffineTransform(moved, points)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shift = [
        cv2.GaussianBlur(rng.uniform(-1, 1, size_hw).astype(np.float32), (0, 0), smoothness)
        * np.float32(strength)
        for _ in range(2)
    ]
    from_x = back[0, 0] * x + back[0, 1] * y + back[0, 2] + shift[0]
    from_y = back[1, 0] * x + back[1, 1] * y + back[1, 2] + shift[1]
    return from_x.astype(np.float32), from_y.astype(np.float32)
