"""Pictures as a video encoder takes them."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from roadseg.core.planes import BT601, Colours, Planes
from roadseg.core.types import Frame, Picture, size_of
from roadseg.media.sinks.pixels import to_planes
from roadseg.media.sources.base import SourceInfo

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

# Of cameras, whose frames have times of the wall clock.
_WALL_CLOCK_BASE = Fraction(1, 90_000)
_FALLBACK_RATE = Fraction(25)


class YuvPictures:
    """Makes yuv420p pictures of one even size, each with its frame's time and later than the last.

    The size is that of the first picture, unless one is given, and so are the colours, where that
    is in planes; pictures of another size are fitted into it on black.

    Args:
        source: gives rate and clock.
        size_hw: of the video.

    Attributes:
        rate: frames a second.
        time_base: seconds a tick.
        step: ticks that a picture stands, where its frame does not say.
        last_pts: time of the last picture, in ticks; None before the first.
        size_hw: of the video, from `begin` on.
        coded_hw: the same made even, as it is encoded; None before `begin`.
        colours: how the colours are taken apart.
    """

    def __init__(self, source: SourceInfo, size_hw: tuple[int, int] | None = None) -> None:
        self.rate = source.rate or _FALLBACK_RATE
        self.time_base = source.time_base or _WALL_CLOCK_BASE
        self.step = max(round(1 / self.rate / self.time_base), 1)
        self.last_pts: int | None = None
        self.size_hw = size_hw
        self.coded_hw: tuple[int, int] | None = None
        self.colours: Colours = BT601

    def begin(self, first: Picture) -> tuple[int, int]:
        """Settle size and colours by the first picture; the size as it is encoded."""
        height, width = self.size_hw = self.size_hw or size_of(first)
        if isinstance(first, Planes):
            self.colours = first.colours
        self.coded_hw = coded_h, coded_w = height + height % 2, width + width % 2
        self._planes = np.empty((coded_h * 3 // 2, coded_w), np.uint8)
        return self.coded_hw

    def make(self, picture: Picture, frame: Frame) -> VideoFrame:
        """One picture, after `begin`.

        Raises:
            OSError, ValueError, MemoryError, av.error.FFmpegError: it cannot be made.
        """
        from av.video.frame import VideoFrame

        assert self.size_hw is not None
        planes = to_planes(picture, self.size_hw, self.colours, out=self._planes)
        yuv = VideoFrame.from_ndarray(planes.packed, format="yuv420p")
        pts = round(Fraction(frame.time_s) / self.time_base)
        if self.last_pts is not None:
            pts = max(pts, self.last_pts + 1)
        self.last_pts = pts
        yuv.pts, yuv.time_base, yuv.duration = pts, self.time_base, self.step
        return yuv
