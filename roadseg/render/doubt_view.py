"""Doubt, pixel by pixel: the frame in grey, and warm colours where the network is torn."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Image

_SURE, _TORN = 0.1, 0.6
"""Entropies at which colour begins and is full."""
_AMBER_BGR, _RED_BGR = (0, 170, 255), (60, 40, 235)
_OPACITY = 0.85
_FRAME = 0.75
"""What is left of the frame's brightness, so that colours stand out."""


def _tables() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """By doubt in 255ths: colours, times their opacity, and what is left of the frame."""
    torn = np.clip((np.arange(256) / 255 - _SURE) / (_TORN - _SURE), 0, 1)[:, None]
    colours = (1 - torn) * np.array(_AMBER_BGR) + torn * np.array(_RED_BGR)
    opacity = _OPACITY * np.sqrt(torn)
    left = np.repeat((1 - opacity) * 255, 3, axis=1)
    return (
        np.rint(colours * opacity).astype(np.uint8)[:, None],
        np.rint(left).astype(np.uint8)[:, None],
    )


_COLOURS, _LEFT = _tables()


def paint_doubt(image_bgr: Image, doubt: npt.NDArray[np.float32] | None, out: Image) -> None:
    """Draw doubt over a frame.

    Args:
        image_bgr: (H, W, 3) uint8 BGR, not written to.
        doubt: (h, w) float32 of any size, 0 (sure) to 1; None for no colour.
        out: (H, W, 3) uint8 to write to.
    """
    height, width = image_bgr.shape[:2]
    grey = cv2.convertScaleAbs(cv2.cvtColor(image_bgr, cv2.COLOR_BGR2GRAY), alpha=_FRAME)
    grey_bgr = cv2.merge([grey] * 3)
    if doubt is None:
        np.copyto(out, grey_bgr)
        return
    small = cv2.convertScaleAbs(doubt, alpha=255)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    frame = cv2.multiply(grey_bgr, cv2.applyColorMap(large, _LEFT), scale=1 / 255)
    cv2.add(frame, cv2.applyColorMap(large, _COLOURS), dst=out)
