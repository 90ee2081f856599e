"""A decoded picture on its way from the decoder to a frame."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and what its source says about it.

    Attributes:
        frame: the pixels.
        stamp: when it is shown, in ticks of the source's clock; None if the source does not say.
        duration: for how many ticks, 0 if the source does not say.
        damaged: the decoder had to guess parts of it.
    """

    frame: VideoFrame
    stamp: int | None
    duration: int
    damaged: bool

    @classmethod
    def of(cls, frame: VideoFrame) -> Picture:
        """What the decoder gave."""
        # Containers such as AVI store the decoding time alone.
        stamp = frame.pts if frame.pts is not None else frame.dts
        return cls(frame, stamp, max(frame.duration or 0, 0), bool(frame.is_corrupt))

    def with_frame(self, frame: VideoFrame) -> Picture:
        """The same with other pixels."""
        return replace(self, frame=frame)
