"""Weather: snow, frost on the glass, fog, too much light."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image
from roadseg.evaluation.corruptions.blur import along_line
from roadseg.evaluation.corruptions.scale import Unit, as_image, as_unit

# Mean and spread of the flakes' layer, their size, what is too faint for one, length and sigma of
# the smear of falling, how much of the scene shows through.
_SNOW = (
    (0.1, 0.3, 3.0, 0.5, 10, 4, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12, 4, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12, 8, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
)
# Shares of the scene and of the ice.
_FROST = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
# Strength, and how fast small swirls lose theirs.
_FOG = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
_BRIGHTER = (0.1, 0.2, 0.3, 0.4, 0.5)


def snow(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """Flakes that fall, over a scene that has turned pale."""
    mean, spread, size, faintest, length, sigma, clear = _SNOW[severity - 1]
    height, width = image_bgr.shape[:2]
    # Grown from a smaller layer, a flake has a size.
    small_wh = (max(1, round(width / size)), max(1, round(height / size)))
    flakes = rng.normal(mean, spread, small_wh[::-1]).astype(np.float32)
    flakes = cv2.resize(flakes, (width, height), interpolation=cv2.INTER_LINEAR)
    flakes[flakes < faintest] = 0
    kernel = along_line(length, sigma, rng.uniform(45, 135))
    flakes = cv2.filter2D(np.clip(flakes, 0, 1), -1, kernel)[..., None]
    unit = as_unit(image_bgr)
    grey = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY).astype(np.float32)[..., None] / 255
    pale = np.maximum(unit, grey * 1.5 + 0.5)
    veiled: Unit = np.float32(clear) * unit + np.float32(1 - clear) * pale
    return as_image(veiled + flakes + flakes[::-1, ::-1])


def frost(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """Ice on the glass: crystals that grow in from the edges."""
    through, ice = _FROST[severity - 1]
    height, width = image_bgr.shape[:2]
    y, x = np.linspace(-1, 1, height)[:, None], np.linspace(-1, 1, width)[None, :]
    edge = np.maximum(np.abs(x), np.abs(y)).astype(np.float32)
    swirls = plasma((height, width), 1.7, rng)
    # Needles: noise smeared along a direction that differs from place to place.
    grain = rng.random((height, width), dtype=np.float32)
    needles = [cv2.filter2D(grain, -1, along_line(9, 6, angle)) for angle in rng.uniform(0, 180, 4)]
    crystals = np.max(needles, axis=0)
    crystals = (crystals - crystals.min()) / (crystals.max() - crystals.min())
    thickness = np.clip(1.6 * swirls + 0.8 * edge - 0.7, 0, 1)
    layer = (thickness * (0.45 + 0.55 * crystals))[..., None]
    # Ice is a little blue.
    colour = np.array([1.0, 0.97, 0.92], np.float32)
    return as_image(np.float32(through) * as_unit(image_bgr) + np.float32(ice) * layer * colour)


def fog(image_bgr: Image, severity: int, rng: np.random.Generator) -> Image:
    """Grey swirls over the whole picture, which loses contrast."""
    strength, decay = _FOG[severity - 1]
    unit = as_unit(image_bgr)
    brightest = float(unit.max())
    dimmer = brightest / (brightest + strength)
    swirls = plasma((unit.shape[0], unit.shape[1]), decay, rng)[..., None]
    return as_image((unit + np.float32(strength) * swirls) * np.float32(dimmer))


def brightness(image_bgr: Image, severity: int, _rng: np.random.Generator) -> Image:
    """More light: the value of HSV rises."""
    hsv = cv2.cvtColor(as_unit(image_bgr), cv2.COLOR_BGR2HSV)
    hsv[..., 2] = np.clip(hsv[..., 2] + _BRIGHTER[severity - 1], 0, 1)
    return as_image(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR))


def plasma(
    size_hw: tuple[int, int], decay: float, rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Swirls: noise of every scale, each finer one weaker by `decay`, from 0 to 1.

    Args:
        size_hw: height and width.
        decay: above 1; the larger, the smoother.
        rng: where the randomness comes from.

    Returns:
        (h, w) float32.
    """
    height, width = size_hw
    total = np.zeros(size_hw, np.float32)
    cells, weight = 2, np.float32(1)
    while cells < 2 * max(size_hw):
        rows, columns = min(cells, height) + 1, min(cells, width) + 1
        layer = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        total += weight * cv2.resize(layer, (width, height), interpolation=cv2.INTER_LINEAR)
        cells, weight = 2 * cells, np.float32(weight / decay)
    total -= total.min()
    return total / max(float(total.max()), 1e-6)
