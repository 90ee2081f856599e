"""An encoder for clips where no recording has one."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from roadseg.core.errors import SinkError
from roadseg.core.planes import BT601, Planes
from roadseg.core.types import Frame, Picture, size_of
from roadseg.media.container import reason
from roadseg.media.sinks.clips.tap import PacketTap
from roadseg.media.sinks.encoder import add_video_stream
from roadseg.media.sinks.pixels import to_planes
from roadseg.media.sources.base import SourceInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


_WALL_CLOCK_BASE = Fraction(1, 90_000)
_FALLBACK_RATE = Fraction(25)


class PictureEncoder:
    """Encodes pictures as `Mp4Sink` does, and writes them nowhere. One thread uses it.

    Args:
        source: gives rate and clock.
        tap: is given what is encoded.

    Attributes:
        warnings: one line each.
    """

    def __init__(self, source: SourceInfo, tap: PacketTap) -> None:
        self.warnings: list[str] = []
        self._tap = tap
        self._rate = source.rate or _FALLBACK_RATE
        self._time_base = source.time_base or _WALL_CLOCK_BASE
        self._step = max(round(1 / self._rate / self._time_base), 1)
        self._last_pts: int | None = None
        self._size_hw = (0, 0)
        self._colours = BT601
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def write(self, picture: Picture, frame: Frame) -> None:
        """Encode one picture; the first one decides on size and colours, others are fitted into it.

        Raises:
            SinkError: the encoder refuses it.
        """
        import av
        from av.video.frame import VideoFrame

        try:
            if self._stream is None:
                self._stream = self._start(picture)
            planes = to_planes(picture, self._size_hw, self._colours, out=self._planes)
            yuv = VideoFrame.from_ndarray(planes.packed, format="yuv420p")
            pts = round(Fraction(frame.time_s) / self._time_base)
            if self._last_pts is not None:
                pts = max(pts, self._last_pts + 1)
            self._last_pts = pts
            yuv.pts, yuv.time_base, yuv.duration = pts, self._time_base, self._step
            self._tap.before(yuv)
            for packet in self._stream.encode(yuv):
                self._tap.take(packet)
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as exc:
            height, width = self._size_hw
            raise SinkError(
                f"the encoder of event clips refuses {width}x{height} frames ({reason(exc)})",
                fix="watch for events without clips",
            ) from exc

    def close(self) -> None:
        """Hand on what the encoder still holds; a second call does nothing."""
        stream, self._stream = self._stream, None
        # Without an encoder that was opened, PyAV 19 ends the process here.
        if stream is not None and stream.codec_context.is_open:
            for packet in stream.encode(None):
                self._tap.take(packet)

    def _start(self, picture: Picture) -> VideoStream:
        import av

        self._size_hw = height, width = size_of(picture)
        if isinstance(picture, Planes):
            self._colours = picture.colours
        coded_h, coded_w = height + height % 2, width + width % 2
        self._planes = np.empty((coded_h * 3 // 2, coded_w), np.uint8)
        self._container = av.open(io.BytesIO(), "w", format="mp4")
        stream, warning = add_video_stream(
            self._container, (coded_h, coded_w), self._rate, self._time_base, self._colours
        )
        if warning:
            self.warnings.append(warning)
        return stream
