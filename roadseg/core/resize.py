"""Pictures made larger and smaller for the network."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt


def resized(
    image: npt.NDArray[np.uint8],
    size_hw: tuple[int, int],
    out: npt.NDArray[np.uint8] | None = None,
) -> npt.NDArray[np.uint8]:
    """A picture or plane of another size, without aliasing.

    Bilinear where a side shrinks to its half or less far; a side that shrinks more is halved by
    averaging first, as often as that takes. One step of averaging (INTER_AREA) to the size itself
    looks as good and takes eight times as long.

    Args:
        image: (H, W) or (H, W, 3) uint8.
        size_hw: height and width.
        out: (h, w) or (h, w, 3) uint8 to write to.
    """
    h, w = size_hw
    half: Any = image
    if image.shape[0] % h == 0 and image.shape[1] % w == 0 and image.shape[:2] != size_hw:
        # Whole blocks: their mean is exact, and quick.
        whole: npt.NDArray[np.uint8] = cv2.resize(
            image, (w, h), dst=out, interpolation=cv2.INTER_AREA
        )
        return whole
    while half.shape[0] > 2 * h or half.shape[1] > 2 * w:
        rows, columns = half.shape[:2]
        smaller_wh = (
            columns // 2 if columns > 2 * w else columns,
            rows // 2 if rows > 2 * h else rows,
        )
        half = cv2.resize(half, smaller_wh, interpolation=cv2.INTER_AREA)
    result: npt.NDArray[np.uint8] = cv2.resize(
        half, (w, h), dst=out, interpolation=cv2.INTER_LINEAR
    )
    return result
