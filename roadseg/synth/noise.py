"""Seeded random streams and tileable noise: the raw material of every texture."""

from __future__ import annotations

from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float32]
"""float32 array of any shape."""

Rng: TypeAlias = np.random.Generator


def stream(*keys: int) -> Rng:
    """A random stream that depends on `keys` (non-negative) and on nothing else.

    Every thing in the world draws from its own stream, so that what a frame shows does not
    depend on which frames were rendered before it.
    """
    return np.random.default_rng(list(keys))


def value_noise(rng: Rng, size_hw: tuple[int, int], cells_hw: tuple[int, int]) -> Array:
    """Smooth noise in 0..1 that tiles: random values at the cells' corners, interpolated.

    Returns:
        (H, W) float32.
    """
    height, width = size_hw
    rows, columns = cells_hw
    grid = np.pad(rng.random((rows, columns), dtype=np.float32), 2, mode="wrap")
    step_y, step_x = -(-height // rows), -(-width // columns)
    full = cv2.resize(
        grid, ((columns + 4) * step_x, (rows + 4) * step_y), interpolation=cv2.INTER_CUBIC
    )
    tile = full[2 * step_y : (rows + 2) * step_y, 2 * step_x : (columns + 2) * step_x]
    if tile.shape != (height, width):
        tile = cv2.resize(tile, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(np.clip(tile, 0.0, 1.0), np.float32)


def fbm(rng: Rng, size_hw: tuple[int, int], cells: int, octaves: int) -> Array:
    """Sum of `octaves` of tiling value noise, each twice as fine and half as strong.

    Args:
        cells: cells along the longer side in the coarsest octave.

    Returns:
        (H, W) float32, mean 0, standard deviation 1.
    """
    height, width = size_hw
    longer = max(height, width)
    total = np.zeros(size_hw, np.float32)
    for octave in range(octaves):
        count = cells << octave
        rows = max(1, min(height, round(count * height / longer)))
        columns = max(1, min(width, round(count * width / longer)))
        total += value_noise(rng, size_hw, (rows, columns)) * 0.5**octave
    total -= float(total.mean())
    return np.asarray(total / max(float(total.std()), 1e-6), np.float32)
