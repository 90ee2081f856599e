"""Blur: of a lens out of focus, of frosted glass, of motion, of a camera that drives ahead."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image
from roadseg.evaluation.corruptions.scale import Unit, as_image, as_unit

# Radius of the disc, and sigma of what softens its edge, in pixels.
_DEFOCUS = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))
# Sigma in pixels, how far pixels change places, how often.
_GLASS = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
# Length and sigma along the line, in pixels.
_MOTION = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
# Up to which zoom, and in which steps.
_ZOOM = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))


def defocus_blur(image_bgr: Image, severity: int, _rng: np.random.Generator) -> Image:
    """Every point becomes a disc."""
    radius, softness = _DEFOCUS[severity - 1]
    half = max(8, radius)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.float32)
    disc = cv2.GaussianBlur(disc / disc.sum(), (3, 3) if radius <= 8 else (5, 5), softness)
    blurred: Image = cv2.filter2D(image_bgr, -1, disc, borderType=cv2.BORDER_REFLECT_101)
    return blurred


def glass_blur(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """Pixels change places with neighbours, between two slight blurs."""
    sigma, reach, times = _GLASS[severity - 1]
    soft = cv2.GaussianBlur(image_bgr, (0, 0), sigma)
    height, width = soft.shape[:2]
    y, x = np.mgrid[:height, :width]
    for _ in range(times):
        at_y = np.clip(y + rng.integers(-reach, reach + 1, y.shape), 0, height - 1)
        at_x = np.clip(x + rng.integers(-reach, reach + 1, x.shape), 0, width - 1)
        soft = soft[at_y, at_x]
    blurred: Image = cv2.GaussianBlur(soft, (0, 0), sigma)
    return blurred


def motion_blur(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """A smear to one side, along a line within 45 degrees of the horizontal."""
    length, sigma = _MOTION[severity - 1]
    kernel = along_line(length, sigma, rng.uniform(-45, 45))
    smeared: Image = cv2.filter2D(image_bgr, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return smeared


def zoom_blur(image_bgr: Image, severity: int, _rng: np.random.Generator) -> Image:
    """The mean of the picture and of ever larger ones, about its centre."""
    end, step = _ZOOM[severity - 1]
    height, width = image_bgr.shape[:2]
    unit = as_unit(image_bgr)
    zooms = np.arange(1, end, step)
    total: Unit = unit.copy()
    for zoom in zooms:
        centre = ((width - 1) / 2, (height - 1) / 2)
        matrix = cv2.getRotationMatrix2D(centre, 0, float(zoom))
        total += cv2.warpAffine(
            unit, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return as_image(total / np.float32(len(zooms) + 1))


def along_line(length: int, sigma: float, angle_deg: float) -> npt.NDArray[np.float32]:
    """Kernel of a smear: half a Gaussian from the middle outwards; its sum is 1.

    Args:
        length: of the smear, in pixels.
        sigma: of the Gaussian, in pixels.
        angle_deg: against the horizontal, clockwise.

    Returns:
        (2 length + 1, 2 length + 1) float32.
    """
    side = 2 * length + 1
    kernel = np.zeros((side, side), np.float32)
    kernel[length, length:] = np.exp(-0.5 * (np.arange(length + 1) / sigma) ** 2)
    turned = cv2.getRotationMatrix2D((length, length), -angle_deg, 1)
    smear: npt.NDArray[np.float32] = cv2.warpAffine(kernel, turned, (side, side))
    smear /= smear.sum()
    return smear
