"""Class colours over, instead of, or beside the frame, in BGR."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.geometry import LabelMap
from roadseg.core.types import Image, Labels

__all__ = ["Painter"]

_LINEAR = cv2.INTER_LINEAR
SOFTENING = (3, 3)
"""Pixels of the label map that share their colour: 1/4, 1/2, 1/4 in both directions."""


class Painter:
    """Turns label maps into colour, with buffers that are reused from frame to frame.

    Args:
        palette: (classes + 1, 3) uint8 BGR, row = class id, the last row is void.
    """

    def __init__(self, palette: npt.NDArray[np.uint8]) -> None:
        self._void_id = len(palette) - 1
        self._table = np.zeros((256, 1, 3), np.uint8)
        self._table[: len(palette), 0] = palette
        self._small: Image | None = None
        self._soft: Image | None = None
        self._large: Image | None = None

    def overlay(self, image_bgr: Image, label_map: LabelMap, alpha: float, out: Image) -> None:
        """Blend class colours over a frame: `(1 - alpha) * frame + alpha * colour`, rounded.

        Outlines are smooth: the small colour picture is softened and then enlarged linearly, which
        bends the stairs of its pixels into curves. Void pixels keep the frame.

        Args:
            image_bgr: (H, W, 3) uint8 BGR, not written to.
            label_map: its labels.
            alpha: 0 shows the frame, 1 the colours.
            out: (H, W, 3) uint8 to write to, may be a part of a larger array.
        """
        ids = label_map.network_ids
        colours = self._enlarged(self._colourise(ids), image_bgr.shape)
        if not self.has_void(label_map):
            cv2.addWeighted(image_bgr, 1 - alpha, colours, alpha, 0, dst=out)
            return
        # Networks never predict void; ground truth and masked-out regions hold it. Colours fade
        # out towards it: they are black there, and the frame's share grows by as much.
        opacity = np.where(ids == self._void_id, np.float32(0), np.float32(alpha))
        height, width = image_bgr.shape[:2]
        if opacity.shape != (height, width):
            opacity = cv2.GaussianBlur(opacity, SOFTENING, 0)
            opacity = cv2.resize(opacity, (width, height), interpolation=cv2.INTER_LINEAR)
        blended = image_bgr * (1 - opacity[..., None]) + colours * np.float32(alpha)
        np.copyto(out, np.rint(blended), casting="unsafe")

    def has_void(self, label_map: LabelMap) -> bool:
        """Whether some pixels have no class."""
        return int(label_map.network_ids.max(initial=0)) >= self._void_id

    def mask(self, label_map: LabelMap, out: Image) -> None:
        """Fill `out`, (H, W, 3) uint8, with the exact palette colour of every pixel's class."""
        colours = self._colourise(label_map.network_ids)
        if colours.shape == out.shape:
            np.copyto(out, colours)
            return
        # The same sampling as `postprocess.to_source`, so that the picture shows `LabelMap.ids`.
        size_wh = (out.shape[1], out.shape[0])
        cv2.resize(colours, size_wh, dst=out, interpolation=cv2.INTER_NEAREST_EXACT)

    def _colourise(self, network_ids: Labels) -> Image:
        ids = np.ascontiguousarray(network_ids)
        self._small = cv2.applyColorMap(ids, self._table, self._small)
        return self._small

    def _enlarged(self, colours: Image, shape: tuple[int, ...]) -> Image:
        if colours.shape == shape:
            return colours
        # At the network's size this costs a tenth of a millisecond, whatever the frame's size.
        self._soft = cv2.GaussianBlur(colours, SOFTENING, 0, dst=self._soft)
        size_wh = (shape[1], shape[0])
        self._large = cv2.resize(self._soft, size_wh, dst=self._large, interpolation=_LINEAR)
        return self._large
