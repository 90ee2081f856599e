"""An encoder for clips where no recording has one."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from roadseg.core.errors import SinkError
from roadseg.core.types import Frame, Picture, size_of
from roadseg.media.container import reason
from roadseg.media.sinks.clips.tap import PacketTap
from roadseg.media.sinks.encoder import add_video_stream
from roadseg.media.sinks.yuv_pictures import YuvPictures
from roadseg.media.sources.base import SourceInfo

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream


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
        self._pictures = YuvPictures(source)
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None

    def write(self, picture: Picture, frame: Frame) -> None:
        """Encode one picture; the first one decides on size and colours, others are fitted into it.

        Raises:
            SinkError: the encoder refuses it.
        """
        import av

        try:
            if self._stream is None:
                self._stream = self._start(picture)
            yuv = self._pictures.make(picture, frame)
            self._tap.before(yuv)
            for packet in self._stream.encode(yuv):
                self._tap.take(packet)
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as exc:
            height, width = self._pictures.size_hw or size_of(picture)
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

        coded_hw = self._pictures.begin(picture)
        self._container = av.open(io.BytesIO(), "w", format="mp4")
        pictures = self._pictures
        stream, warning = add_video_stream(
            self._container, coded_hw, pictures.rate, pictures.time_base, pictures.colours
        )
        if warning:
            self.warnings.append(warning)
        return stream
