"""Pictures in planes."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.core.planes import Colours
from roadseg.core.types import Image

ALL_COLOURS = [
    Colours("bt601"),
    Colours("bt709"),
    Colours("bt601", full_range=True),
    Colours("bt709", full_range=True),
]


def natural(size_hw: tuple[int, int], seed: int = 0) -> Image:
    """A picture without sharp edges, whose colours halving keeps."""
    height, width = size_hw
    rough = np.random.default_rng(seed).integers(20, 236, (5, 7, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
