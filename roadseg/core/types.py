"""The values that travel through roadseg: pictures, labels and frames.

Legend, for this module and everywhere else:
- `image_bgr`: (H, W, 3) uint8, 0..255, channels blue-green-red as OpenCV orders them.
- `ids`: (H, W) uint8, class ids from 0 on, as many as the network has classes: 0..10 in CamVid's
  order, 0..36 in SUN RGB-D's. Void is none of them and never predicted.
- `*_hw` is (height, width), `*_wh` is (width, height), in pixels; `*_s` seconds, `*_ms` ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from roadseg.core.planes import Planes

__all__ = ["Frame", "Image", "Labels", "Picture", "as_bgr", "size_of"]

Image: TypeAlias = npt.NDArray[np.uint8]
"""(H, W, 3) uint8, BGR."""

Labels: TypeAlias = npt.NDArray[np.uint8]
"""(H, W) uint8, class ids."""

Picture: TypeAlias = Image | Planes
"""A picture in BGR, or in the planes that decoders give and encoders take."""


def as_bgr(picture: Picture) -> Image:
    """(H, W, 3) uint8 BGR of a picture."""
    return picture.bgr if isinstance(picture, Planes) else picture


def size_of(picture: Picture) -> tuple[int, int]:
    """Height and width of a picture, in pixels."""
    if isinstance(picture, Planes):
        return picture.size_hw
    return picture.shape[0], picture.shape[1]


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source.

    Attributes:
        picture: (H, W, 3) uint8 BGR, or planes; nobody downstream writes into it.
        index: 0-based position in the source, counting frames that were dropped.
        time_s: presentation time in seconds from the start of the source.
        captured_s: `time.monotonic()` when the frame left the source, for latency.
        duration_s: how long it is shown, where the source says so.
        is_last: the source has come to its own end with it; nobody cut it short.
        source_s: where it lies on the source's own clock, in seconds, before that clock was mended;
            sound, which has the same clock, follows it. None if it has no stamp.
        name: of its results, without suffix, where it has one of its own: a picture file's.
            None for the frames of videos and cameras, whose results are numbered.
    """

    picture: Picture
    index: int
    time_s: float
    captured_s: float
    duration_s: float | None = None
    is_last: bool = False
    source_s: float | None = None
    name: str | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return size_of(self.picture)

    @property
    def image_bgr(self) -> Image:
        """(H, W, 3) uint8 BGR; made at first use where the picture is in planes."""
        return as_bgr(self.picture)
