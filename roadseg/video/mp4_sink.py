"""H.264 in mp4: plays in browsers and players, keeps the source's times and sound."""

from __future__ import annotations

import contextlib
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np

from roadseg.errors import SinkError
from roadseg.types import Frame, Image
from roadseg.video.audio import AudioTrack
from roadseg.video.encoder import add_video_stream
from roadseg.video.media import file_url, reason
from roadseg.video.pixels import even, letterbox, to_yuv420p
from roadseg.video.source import SourceInfo
from roadseg.video.tags import kept_tags
from roadseg.video.targets import claim_file, replace_file, write_failure

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

__all__ = ["Mp4Sink"]

_WALL_CLOCK_BASE = Fraction(1, 90_000)
_FALLBACK_RATE = Fraction(25)


class Mp4Sink:
    """See `roadseg.video.sink.Sink`.

    The video has the size of the first picture (`size_hw` if given), made even by repeating the
    last row or column; pictures of another size are fitted into it on black. Frames keep their
    own times, so a variable frame rate stays one. Sound is copied where mp4 allows its codec,
    encoded as AAC otherwise, and ends with the last picture. Everything goes to a hidden file
    beside the target, which takes the final name when it is complete.

    Raises:
        SinkError: the target cannot be written, or is the source itself.
    """

    def __init__(
        self,
        path: Path,
        source: SourceInfo,
        size_hw: tuple[int, int] | None = None,
        *,
        overwrite: bool = True,
    ) -> None:
        self.path: Path | None = path
        self.frames_out = 0
        self.warnings: list[str] = []
        self._target = path
        self._source = source
        self._size_hw = size_hw
        self._coded_hw: tuple[int, int] | None = None
        self._rate = source.rate or _FALLBACK_RATE
        self._time_base = source.time_base or _WALL_CLOCK_BASE
        self._step = max(round(1 / self._rate / self._time_base), 1)
        self._last_pts: int | None = None
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._audio: AudioTrack | None = None
        self._closed = False
        self._temporary = claim_file(path, source, overwrite=overwrite)

    def _start(self, image_bgr: Image) -> VideoStream:
        import av

        height, width = self._size_hw = self._size_hw or (image_bgr.shape[0], image_bgr.shape[1])
        self._coded_hw = coded_h, coded_w = height + height % 2, width + width % 2
        self._planes = np.empty((coded_h * 3 // 2, coded_w), dtype=np.uint8)
        # faststart: the index moves to the front, so that browsers play while they load.
        options = {"movflags": "+faststart+use_metadata_tags"}
        self._container = av.open(file_url(self._temporary), "w", format="mp4", options=options)
        stream, warning = add_video_stream(
            self._container,
            (coded_h, coded_w),
            self._rate,
            self._time_base,
        )
        if warning:
            self.warnings.append(warning)
        self._container.metadata.update(kept_tags(self._source.tags))
        if self._source.has_audio and self._source.path is not None:
            try:
                self._audio = AudioTrack(self._source.path, self._container, self._source.start_s)
            except (av.error.FFmpegError, OSError, ValueError) as exc:
                self.warnings.append(f"{self._target} has no sound: {reason(exc)}")
        return stream

    def write(self, image_bgr: Image, frame: Frame) -> None:
        """See `Sink.write`."""
        import av

        if self._closed:
            raise SinkError(f"cannot write {self._target}: it was closed before")
        try:
            if self._stream is None:
                self._stream = self._start(image_bgr)
            self._encode(self._stream, image_bgr, frame)
        except (av.error.FFmpegError, OSError, ValueError, MemoryError) as exc:
            self._fail(exc)
        self.frames_out += 1

    def _encode(self, stream: VideoStream, image_bgr: Image, frame: Frame) -> None:
        from av.video.frame import VideoFrame

        assert self._size_hw is not None
        assert self._container is not None
        planes = to_yuv420p(even(letterbox(image_bgr, self._size_hw)), out=self._planes)
        yuv = VideoFrame.from_ndarray(planes, format="yuv420p")
        pts = round(Fraction(frame.time_s) / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        self._last_pts = pts
        yuv.pts, yuv.time_base, yuv.duration = pts, self._time_base, self._step
        if self._audio is not None:
            self._audio.write_until(pts * self._time_base)
        self._container.mux(stream.encode(yuv))

    def _fail(self, exc: BaseException) -> NoReturn:
        """Drop the unfinished file and raise what `exc` means."""
        import av

        self._discard()
        refused = isinstance(exc, (ValueError, av.error.ExternalError))
        if refused and self.frames_out == 0 and self._coded_hw is not None:
            height, width = self._coded_hw
            raise SinkError(
                f"the H.264 encoder refuses {width}x{height} frames ({reason(exc)}): "
                f"write images instead, --output {self._target.with_suffix('')}"
            ) from exc
        raise write_failure(self._target, exc) from exc

    def _discard(self) -> None:
        import av

        self._closed = True
        if self._audio is not None:
            self._audio.close()
        # Closing writes an index that nobody will read; that it fails too is no news.
        with contextlib.suppress(av.error.FFmpegError, OSError, ValueError):
            if self._container is not None:
                self._container.close()
        with contextlib.suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def close(self, *, ok: bool) -> None:
        """See `Sink.close`. Without a single frame there is nothing to complete, and a file of
        an earlier run stays as it was."""
        import av

        if self._closed:
            return
        if not ok or self._stream is None or self._container is None or self._last_pts is None:
            self._discard()
            return
        try:
            if self._audio is not None:
                self._audio.finish((self._last_pts + self._step) * self._time_base)
                self.warnings += self._audio.warnings
            self._container.mux(self._stream.encode(None))
            self._container.close()
        except (av.error.FFmpegError, OSError, ValueError) as exc:
            self._fail(exc)
        self._closed = True
        replace_file(self._temporary, self._target)
