"""Labels for frames that the network does not see, from those before and behind them.

Consecutive frames are nearly equal. Optical flow (`roadseg.core.flow`) says where each pixel of a
frame was in the last frame that the network saw, and where it will be in the next one. It takes its
label from the one of the two that looks more like it there: what comes into view is seen behind,
what goes out of view before, and at a cut all of it comes from the right side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.flow import Flow
from roadseg.core.planes import Planes
from roadseg.core.resize import resized
from roadseg.core.size import SizeHW
from roadseg.core.types import Labels, Picture

Grey = npt.NDArray[np.uint8]
"""(h / 2, w / 2) uint8: brightness at half of the network's size."""

_AROUND = (7, 7)  # pixels that are compared


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame that the network saw: its brightness, and its (h, w) labels."""

    grey: Grey
    ids: Labels


def half_grey(picture: Picture, network_hw: SizeHW) -> Grey:
    """Brightness of a frame at half of the network's size."""
    half_hw = (max(network_hw[0] // 2, 1), max(network_hw[1] // 2, 1))
    if isinstance(picture, Planes):
        return resized(picture.y, half_hw)
    return np.asarray(cv2.cvtColor(resized(picture, half_hw), cv2.COLOR_BGR2GRAY), np.uint8)


class Between:
    """Carries labels to frames between two that the network saw. One thread uses it.

    >>> still = Seen(np.zeros((1, 1), np.uint8), np.array([[3, 3], [3, 8]], np.uint8))
    >>> Between().labels(still.grey, still, None)
    array([[3, 3],
           [3, 8]], dtype=uint8)
    """

    def __init__(self) -> None:
        self._flow = Flow()
        self._grid = np.empty((0, 0, 2), np.float32)

    def labels(self, grey: Grey, before: Seen, after: Seen | None) -> Labels:
        """Labels of a frame.

        Args:
            grey: its brightness.
            before, after: frames around it, of the same size; None after the last one.

        Returns:
            (h, w) uint8 class ids, the caller's own.
        """
        ids, error = self._carried(grey, before)
        if after is None:
            return ids
        other_ids, other_error = self._carried(grey, after)
        better = cv2.compare(other_error, error, cv2.CMP_LT)
        size_wh = (ids.shape[1], ids.shape[0])
        better = cv2.resize(better, size_wh, interpolation=cv2.INTER_NEAREST)
        cv2.copyTo(other_ids, better, ids)
        return ids

    def _carried(self, grey: Grey, seen: Seen) -> tuple[Labels, Grey]:
        """Another frame's labels along the flow, and how unlike the two frames are there."""
        flow = self._flow.between(grey, seen.grey)
        if flow is None:
            return seen.ids.copy(), cv2.absdiff(grey, seen.grey)
        places = self._places(grey.shape) + flow
        moved = _remap(seen.grey, places, cv2.INTER_LINEAR)
        error = cv2.blur(cv2.absdiff(grey, moved), _AROUND)
        height, width = seen.ids.shape
        # Pixel centres: that of a network pixel lies a quarter of a half-size pixel off.
        larger = cv2.resize(places, (width, height), interpolation=cv2.INTER_LINEAR) * 2 + 0.5
        ids = _remap(seen.ids, larger, cv2.INTER_NEAREST)
        return ids, np.asarray(error, np.uint8)

    def _places(self, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        """(h, w, 2) float32: x and y of every pixel."""
        if self._grid.shape[:2] != shape:
            y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
            self._grid = np.stack([x, y], axis=-1)
        return self._grid


def _remap(image: Any, places: Any, interpolation: int) -> npt.NDArray[np.uint8]:
    moved = cv2.remap(image, places, None, interpolation, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)
