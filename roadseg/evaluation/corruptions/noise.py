"""Noise of sensors: of heat, of few photons, of dead and hot pixels."""

from __future__ import annotations

import numpy as np

from roadseg.core.types import Image
from roadseg.evaluation.corruptions.scale import as_image, as_unit

_GAUSSIAN_SIGMA = (0.08, 0.12, 0.18, 0.26, 0.38)
_SHOT_PHOTONS = (60, 25, 12, 5, 3)
_IMPULSE_SHARE = (0.03, 0.06, 0.09, 0.17, 0.27)


def gaussian_noise(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """The same noise everywhere, as in the dark."""
    noise = rng.standard_normal(image_bgr.shape, dtype=np.float32)
    return as_image(as_unit(image_bgr) + _GAUSSIAN_SIGMA[severity - 1] * noise)


def shot_noise(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """Photons counted one by one: a white pixel has caught this many of them."""
    photons = _SHOT_PHOTONS[severity - 1]
    caught = rng.poisson(as_unit(image_bgr) * photons).astype(np.float32)
    return as_image(caught / np.float32(photons))


def impulse_noise(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """Values that are lost, half of them to black and half to white ("salt and pepper")."""
    share = _IMPULSE_SHARE[severity - 1]
    draw = rng.random(image_bgr.shape, dtype=np.float32)
    noisy = image_bgr.copy()
    noisy[draw < share / 2] = 0
    noisy[draw > 1 - share / 2] = 255
    return noisy
