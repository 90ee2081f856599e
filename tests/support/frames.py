"""Frames for a network that labels by the level of green."""

from __future__ import annotations

import numpy as np


def gradient(height: int, width: int) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 1] = np.linspace(0, 255, width).astype(np.uint8)
    return frame


def plain(level: int, size_hw: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.full((*size_hw, 3), level, np.uint8)
