"""Class colours over, or instead of, a frame in planes.

Blending is linear, and so is the step from BGR to planes: the result is that of
`roadseg.render.overlay`, taken apart, within rounding.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.geometry import LabelMap
from roadseg.core.planes import Colours, Plane, Planes
from roadseg.render.overlay import SOFTENING


class PlanarPainter:
    """Turns label maps into colour, with buffers that are reused from frame to frame.

    Args:
        palette: (classes + 1, 3) uint8 BGR, row = class id, the last row is void.
    """

    def __init__(self, palette: npt.NDArray[np.uint8]) -> None:
        self._palette = palette
        self._tables: dict[Colours, list[Plane]] = {}
        self._large: list[Any] = [None, None, None]

    def overlay(self, picture: Planes, label_map: LabelMap, alpha: float, out: Planes) -> None:
        """Blend class colours over a frame; see `Painter.overlay`. No label may be void.

        Args:
            picture: not written to.
            label_map: its labels.
            alpha: 0 shows the frame, 1 the colours.
            out: to write to, may be a part of a larger picture.
        """
        same = label_map.geometry.source_hw == label_map.geometry.network_hw
        small = self._colourise(label_map, picture.colours)
        for i, (colour, plane, target) in enumerate(
            zip(small, _each(picture), _each(out), strict=True)
        ):
            # At the network's size this costs a tenth of a millisecond, whatever the frame's size.
            soft = colour if same else cv2.GaussianBlur(colour, SOFTENING, 0)
            size_wh = (target.shape[1], target.shape[0])
            large = cv2.resize(soft, size_wh, dst=self._large[i], interpolation=cv2.INTER_LINEAR)
            cv2.addWeighted(plane, 1 - alpha, large, alpha, 0, dst=target)
            self._large[i] = large

    def mask(self, label_map: LabelMap, out: Planes) -> None:
        """Fill `out` with the palette colour of every pixel's class."""
        height, width = out.size_hw
        for colour, target in zip(self._colourise(label_map, out.colours), _each(out), strict=True):
            # The same sampling as `postprocess.to_source`, so that the picture shows
            # `LabelMap.ids`; then each colour the mean of its 2x2 block.
            full = cv2.resize(colour, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)
            size_wh = (target.shape[1], target.shape[0])
            np.copyto(target, cv2.resize(full, size_wh, interpolation=cv2.INTER_AREA))

    def _colourise(self, label_map: LabelMap, colours: Colours) -> list[Plane]:
        """(h, w) planes of the labels' colours."""
        tables = self._tables.get(colours)
        if tables is None:
            parts = np.rint(colours.of(self._palette)).clip(0, 255).astype(np.uint8)
            tables = self._tables[colours] = []
            for part in parts.T:
                table = np.zeros(256, np.uint8)
                table[: len(part)] = part
                tables.append(table)
        ids = np.ascontiguousarray(label_map.network_ids)
        return [np.asarray(cv2.LUT(ids, table), np.uint8) for table in tables]


def _each(picture: Planes) -> tuple[Plane, Plane, Plane]:
    return picture.y, picture.u, picture.v
