"""What of a picture is left out: neither coloured nor counted."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from roadseg.core.types import Labels
from roadseg.road.areas import Mask


@dataclass(frozen=True, eq=False)
class LeftOut:
    """Of pictures of one size.

    Attributes:
        mask: (H, W) uint8, 255 where they are left out, else 0.
        void_id: what labels say there.
    """

    mask: Mask
    void_id: int

    @classmethod
    def of(cls, counts: Mask, void_id: int) -> LeftOut:
        """From `IgnoreMask.counts`."""
        return cls(np.asarray(cv2.bitwise_not(counts), np.uint8), void_id)

    def applied(self, ids: Labels) -> Labels:
        """(H, W) labels with void where they are left out; the caller's own.

        >>> LeftOut(np.array([[0, 255]], np.uint8), 11).applied(np.array([[3, 3]], np.uint8))
        array([[ 3, 11]], dtype=uint8)
        """
        out = ids.copy()
        out[self.mask > 0] = self.void_id
        return out
