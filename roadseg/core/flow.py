"""Optical flow between two pictures."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

LEAST_SIDE = 32
"""Pixels of the smaller side from which on there is flow.

OpenCV chooses the pyramid by the width. Below 32 rows a wide picture has levels with fewer rows
than a patch has, 8, and OpenCV 5.0 reads outside of them: 24x250 and 31x500 end the process.
"""


class Flow:
    """DIS optical flow, in its quickest form. One thread uses it.

    Source: Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.

    >>> one = np.zeros((40, 60), np.uint8)
    >>> Flow().between(one, one).shape
    (40, 60, 2)
    >>> Flow().between(one[:20], one[:20]) is None
    True
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)

    def between(
        self, grey: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]
    ) -> npt.NDArray[np.float32] | None:
        """Where each pixel of a picture is in another.

        Args:
            grey, other: (h, w) uint8 brightness.

        Returns:
            (h, w, 2) float32, the way in x and y in pixels; None where a side has less than
            `LEAST_SIDE` of them: then take the pictures to stand still.
        """
        if min(grey.shape) < LEAST_SIDE:
            return None
        return np.asarray(self._dis.calc(grey, other, None), np.float32)
