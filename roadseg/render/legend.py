"""The legend: which colour is which class, and how much of the picture it has.

It stands at the top right in two columns, or more where there are many classes. The upper third
of a road scene is sky, trees and facades; road, cars and people keep clear of it. In small
pictures, where it would close the width together with the head-up display, it stands below that.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roadseg.core.labels import CLASS_NAMES
from roadseg.core.types import Picture, size_of
from roadseg.render.panel import SMALLEST_CAPITAL_PX, Panel, capital_px, text_width

__all__ = ["Legend"]

_COLUMNS = 2
_WIDEST = 0.45
"""Share of the width that legend and head-up display may take in one row."""
_LOWEST = 0.42
"""Share of the height that they may take in one column."""
_MOST_ROWS = 13
_WIDEST_SHARE = "100%"
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
        self._plain: dict[tuple[int, bool], _Plain] = {}
        self._latest: tuple[tuple[int, tuple[str, ...]], Panel] | None = None

    def draw(
        self,
        picture: Picture,
        taken_hw: tuple[int, int] = (0, 0),
        shares: Sequence[float] = (),
    ) -> None:
        """Draw onto a frame, in place, in smaller letters or without shares where there is little
        room.

        Does nothing where the legend would not fit.

        Args:
            picture: written to.
            taken_hw: rows and columns at the top left that are taken already.
            shares: 0 to 1 by class id, shown behind the names; what follows the last class is left
                out. Empty for none.
        """
        count = len(self._names)
        texts = tuple("--" if math.isnan(each) else f"{each:.0%}" for each in shares[:count])
        size_hw = size_of(picture)
        margin = capital_px(size_hw)
        for each in dict.fromkeys([texts, ()]):
            for capital in range(margin, SMALLEST_CAPITAL_PX - 1, -1):
                plain = self._without_shares(capital, has_room=bool(each))
                place = _place(plain.panel.size_hw, size_hw, taken_hw, margin)
                if place is not None:
                    panel = self._with_shares(plain, capital, each) if each else plain.panel
                    panel.blend_into(picture, *place)
                    return

    def _without_shares(self, capital: int, *, has_room: bool) -> _Plain:
        key = (capital, has_room)
        if key not in self._plain:
            slot = text_width(_WIDEST_SHARE, capital) if has_room else 0
            self._plain[key] = _build(self._palette, self._names, capital, slot)
        return self._plain[key]

    def _with_shares(self, plain: _Plain, capital: int, texts: tuple[str, ...]) -> Panel:
        if self._latest is None or self._latest[0] != (capital, texts):
            panel = plain.panel.copy()
            for text, (right, baseline) in zip(texts, plain.ends, strict=False):
                x = right - text_width(text, capital)
                panel.text(text, x, baseline, capital, _TEXT_COLOUR)
            self._latest = (capital, texts), panel
        return self._latest[1]


def _place(
    panel_hw: tuple[int, int], size_hw: tuple[int, int], taken_hw: tuple[int, int], margin: int
) -> tuple[int, int] | None:
    """Left and top of the panel in the picture; None where there is no room."""
    height, width = panel_hw
    right = (size_hw[1] - margin - width, margin)
    fits = height + 2 * margin <= size_hw[0] and width + 2 * margin + taken_hw[1] <= size_hw[1]
    if fits and taken_hw[1] + width <= _WIDEST * size_hw[1]:
        return right
    top = taken_hw[0] + margin // 2
    if taken_hw[0] and top + height <= _LOWEST * size_hw[0] and width + 2 * margin <= size_hw[1]:
        return margin, top
    return right if fits else None


@dataclass(frozen=True)
class _Plain:
    """A legend without shares.

    Attributes:
        panel: it.
        ends: right end and baseline of each class's place.
    """

    panel: Panel
    ends: list[tuple[int, int]]


def _build(
    palette: npt.NDArray[np.uint8], names: tuple[str, ...], capital: int, slot: int
) -> _Plain:
    """A legend with so many pixels for a share behind each name."""
    rows = math.ceil(len(names) / max(_COLUMNS, math.ceil(len(names) / _MOST_ROWS)))
    pitch = round(capital * 1.55)
    swatch = round(capital * 1.1)
    padding = round(capital * 0.65)
    gap = round(capital * 0.55)
    between = round(capital * (1.6 if slot else 0.85))
    columns = [names[i : i + rows] for i in range(0, len(names), rows)]
    widths = [
        swatch + gap + max(text_width(name, capital) for name in column) + (slot and gap + slot)
        for column in columns
    ]
    height = 2 * padding + rows * pitch - (pitch - swatch)
    width = 2 * padding + sum(widths) + (len(columns) - 1) * between
    panel = Panel((height, width), _OPACITY, radius_px=round(capital * 0.6))
    x = padding
    class_id = 0
    ends = []
    for column, column_width in zip(columns, widths, strict=True):
        for row, name in enumerate(column):
            y = padding + row * pitch
            blue, green, red = (int(value) for value in palette[class_id])
            panel.swatch(x, y, swatch, (blue, green, red))
            baseline = y + (swatch + capital) // 2
            panel.text(name, x + swatch + gap, baseline, capital, _TEXT_COLOUR)
            ends.append((x + column_width, baseline))
            class_id += 1
        x += column_width + between
    return _Plain(panel, ends)
