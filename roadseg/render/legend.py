"""The legend: which colour is which class.

It stands at the top right in two columns, or more where there are many classes. The upper quarter
of a road scene is sky, trees and facades; road, cars and people keep clear of it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from roadseg.labels import CLASS_NAMES
from roadseg.render.panel import Panel, capital_px, text_width
from roadseg.types import Image

__all__ = ["Legend"]

_COLUMNS = 2
_MOST_ROWS = 13
_OPACITY = 0.55
_TEXT_COLOUR = (240, 240, 240)


class Legend:
    """Draws swatches and names of all classes.

    Args:
        palette: (classes + 1, 3) uint8 BGR, row = class id.
        names: of the classes, by id.
    """

    def __init__(self, palette: npt.NDArray[np.uint8], names: Sequence[str] = CLASS_NAMES) -> None:
        self._palette = palette
        self._names = tuple(names)
        self._panel: Panel | None = None
        self._for_hw: tuple[int, int] | None = None

    def draw(self, image_bgr: Image, free_px: int | None = None) -> None:
        """Draw onto a frame, in place; does nothing where the legend would not fit.

        Args:
            image_bgr: (H, W, 3) uint8 BGR, written to.
            free_px: columns at the right that the legend may take; all by default.
        """
        size_hw = (image_bgr.shape[0], image_bgr.shape[1])
        if size_hw != self._for_hw:
            self._panel = _build(self._palette, self._names, capital_px(size_hw))
            self._for_hw = size_hw
        assert self._panel is not None
        margin = capital_px(size_hw)
        height, width = self._panel.size_hw
        available = size_hw[1] if free_px is None else free_px
        if height + 2 * margin > size_hw[0] or width + 2 * margin > available:
            return
        self._panel.blend_into(image_bgr, size_hw[1] - margin - width, margin)


def _build(palette: npt.NDArray[np.uint8], names: tuple[str, ...], capital: int) -> Panel:
    rows = math.ceil(len(names) / max(_COLUMNS, math.ceil(len(names) / _MOST_ROWS)))
    pitch = round(capital * 1.9)
    swatch = round(capital * 1.15)
    padding = round(capital * 0.9)
    gap = round(capital * 0.7)
    columns = [names[i : i + rows] for i in range(0, len(names), rows)]
    widths = [
        swatch + gap + max(text_width(name, capital) for name in column) for column in columns
    ]
    height = 2 * padding + rows * pitch - (pitch - swatch)
    width = 2 * padding + sum(widths) + (len(columns) - 1) * round(capital * 1.3)
    panel = Panel((height, width), _OPACITY, radius_px=round(capital * 0.6))
    x = padding
    class_id = 0
    for column, column_width in zip(columns, widths, strict=True):
        for row, name in enumerate(column):
            y = padding + row * pitch
            blue, green, red = (int(value) for value in palette[class_id])
            panel.swatch(x, y, swatch, (blue, green, red))
            baseline = y + (swatch + capital) // 2
            panel.text(name, x + swatch + gap, baseline, capital, _TEXT_COLOUR)
            class_id += 1
        x += column_width + round(capital * 1.3)
    return panel
