"""Pictures as numbers from 0 to 1 and back."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image

Unit: TypeAlias = npt.NDArray[np.float32]
"""(H, W, 3) or (H, W) float32, 0..1."""


def as_unit(image_bgr: Image) -> Unit:
    """Levels 0..255 as 0..1."""
    return image_bgr.astype(np.float32) / np.float32(255)


def as_image(unit: Unit) -> Image:
    """0..1 as levels; what lies outside is cut off."""
    return (np.clip(unit, 0, 1) * 255 + 0.5).astype(np.uint8)
