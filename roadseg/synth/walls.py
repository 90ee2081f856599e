"""Wall and roof materials: brick, plaster, stone, panels, tiles, planks."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.synth.noise import Array, Rng, fbm

Pixels = npt.NDArray[np.uint8]

PIXELS_PER_M = 36
"""Resolution of building textures."""

_BRICKS = ((70, 88, 132), (62, 74, 112), (104, 138, 162), (120, 150, 172), (84, 98, 120))
_PLASTERS = (
    (214, 224, 230),
    (188, 206, 216),
    (170, 190, 206),
    (196, 198, 200),
    (160, 196, 214),
    (206, 196, 186),
    (150, 158, 176),
)
_STONES = (
    (140, 166, 180),
    (150, 162, 168),
    (128, 148, 160),
)


def to_pixels(values: Array) -> Pixels:
    """Float colours as uint8."""
    return np.clip(values, 0, 255).astype(np.uint8)


def masonry(
    rng: Rng, size_hw: tuple[int, int], block_hw: tuple[float, float], colour: Array, spread: float
) -> Array:
    """Courses of blocks in running bond with mortar between them.

    Args:
        block_hw: height and width of a block in pixels.
        spread: how much blocks differ, as a share of their brightness.

    Returns:
        (H, W, 3) float32 BGR.
    """
    height, width = size_hw
    block_h, block_w = block_hw
    rows, columns = int(height / block_h) + 2, int(width / block_w) + 3
    tone = 1 + spread * rng.standard_normal((rows, columns)).astype(np.float32)
    hue = spread * 0.35 * rng.standard_normal((rows, columns, 3)).astype(np.float32)
    y = np.arange(height) / block_h
    row = y.astype(int)
    x = np.arange(width)[None, :] / block_w + 0.5 * (row[:, None] % 2)
    column = x.astype(int)
    shade = tone[row[:, None], column]
    picture = colour * (shade[..., None] + hue[row[:, None], column])
    # Mortar as coverage, so that fine courses blend instead of aliasing.
    joint = np.maximum(
        np.clip(1.2 - (y - row) * block_h, 0, 1)[:, None],
        np.clip(1.2 - (x - column) * block_w, 0, 1),
    ).astype(np.float32)[..., None]
    mortar = colour * 0.55 + 62.0
    picture = picture * (1 - 0.55 * joint) + mortar * (0.55 * joint)
    return np.asarray(picture, np.float32)


def plaster(rng: Rng, size_hw: tuple[int, int], colour: Array) -> Array:
    """Painted render: faint stains, fine grain."""
    stains = fbm(rng, size_hw, 4, 4)
    grain = rng.standard_normal(size_hw).astype(np.float32)
    return np.asarray(colour * (1 + 0.035 * stains + 0.018 * grain)[..., None], np.float32)


def wall(rng: Rng, size_hw: tuple[int, int], kind: str) -> Array:
    """A bare wall: (H, W, 3) float32 BGR.

    Args:
        kind: `brick`, `plaster`, `stone` or `panel`.
    """
    ppm = PIXELS_PER_M
    if kind == "brick":
        colour = _pick(rng, _BRICKS)
        picture = masonry(rng, size_hw, (0.085 * ppm, 0.235 * ppm), colour, 0.13)
        return np.asarray(picture * (1 + 0.05 * fbm(rng, size_hw, 3, 4))[..., None], np.float32)
    if kind == "stone":
        colour = _pick(rng, _STONES)
        return masonry(rng, size_hw, (0.34 * ppm, 0.72 * ppm), colour, 0.06) * np.asarray(
            (1 + 0.05 * fbm(rng, size_hw, 4, 5))[..., None], np.float32
        )
    if kind == "panel":
        grey = float(rng.uniform(90, 190))
        colour = np.array([grey * 1.03, grey, grey * rng.uniform(0.92, 1.02)], np.float32)
        return masonry(rng, size_hw, (1.5 * ppm, 1.2 * ppm), colour, 0.03)
    return plaster(rng, size_hw, _pick(rng, _PLASTERS))


def weather(rng: Rng, picture: Array) -> Array:
    """Darken a wall towards the ground and under its top, with vertical streaks of dirt."""
    height, width = picture.shape[:2]
    y = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None]
    streaks = cv2.resize(
        rng.random((max(2, height // 60), max(2, width // 4))).astype(np.float32),
        (width, height),
        interpolation=cv2.INTER_CUBIC,
    )
    dirt = 0.22 * np.exp(-y * height / PIXELS_PER_M / 0.7) + 0.10 * np.clip(streaks - 0.55, 0, 1)
    dirt = dirt + 0.12 * np.exp(-(1 - y) * height / PIXELS_PER_M / 0.5)
    return np.asarray(picture * (1 - dirt)[..., None], np.float32)


def roof_tiles(rng: Rng, size_hw: tuple[int, int]) -> Pixels:
    """Slates or clay tiles."""
    slate = np.array([96, 90, 84], np.float32)
    clay = np.array([72, 88, 138], np.float32)
    colour = slate if rng.random() < 0.6 else clay
    ppm = PIXELS_PER_M
    picture = masonry(rng, size_hw, (0.2 * ppm, 0.3 * ppm), colour * rng.uniform(0.7, 1.1), 0.08)
    return to_pixels(picture * (1 + 0.08 * fbm(rng, size_hw, 4, 4))[..., None])


def _pick(rng: Rng, colours: tuple[tuple[int, int, int], ...]) -> Array:
    colour = np.array(colours[rng.integers(len(colours))], np.float32)
    return np.asarray(colour * rng.uniform(0.82, 1.08) + rng.uniform(-8, 8, 3), np.float32)
