"""The camera after the lens: blur, vignette, exposure, noise."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.core.types import Image
from roadseg.synth.canvas import spread
from roadseg.synth.light import Light
from roadseg.synth.noise import Array, Rng

_STEPS = 16
_TOP = 4 * 255 * _STEPS


def develop(radiance: Array, light: Light, rng: Rng) -> Image:
    """Turn (H, W, 3) float32 BGR light into an 8-bit picture.

    Labels are not touched: nothing here moves a pixel.
    """
    height, width = radiance.shape[:2]
    scale = height / 360
    picture = cv2.GaussianBlur(radiance, (0, 0), max(light.blur_px * scale, 0.3))
    grey = cv2.transform(picture, np.array([[0.114, 0.587, 0.299]], np.float32))
    picture *= light.saturation
    picture += spread(grey * np.float32(1 - light.saturation))
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    dim: Array = 1 - np.float32(0.7 * light.vignette) * (x * x + y * y)
    # The response curve as a table over 1/16 steps of the 8-bit range.
    scaled = np.clip(picture * spread(dim * np.float32(light.exposure * _STEPS)), 0, _TOP)
    picture = np.take(_response(light.contrast), scaled.astype(np.int32))
    noise = rng.standard_normal((height, width), dtype=np.float32) * light.noise
    picture += spread(noise)
    colour_noise = rng.standard_normal((height, width, 3), dtype=np.float32)
    picture += colour_noise * np.float32(0.4 * light.noise)
    developed: Image = np.clip(np.round(picture), 0, 255).astype(np.uint8)
    return developed


def _response(contrast: float) -> Array:
    """A filmic shoulder keeps bright skies from a hard edge; contrast bends the shadows down."""
    level = (np.arange(_TOP + 1, dtype=np.float32) / (255 * _STEPS)) ** contrast
    level = np.where(level > 0.8, 0.8 + 0.2 * np.tanh((level - 0.8) / 0.2), level)
    return np.asarray(level * 255, np.float32)
