"""Network streams: frames that arrive whether or not anybody reads them.

`roadseg.media.sources.network` opens them.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Generator
from fractions import Fraction
from typing import TYPE_CHECKING

from roadseg.core.closing import Closing
from roadseg.core.errors import SourceError
from roadseg.core.types import Frame
from roadseg.media.container import choose_video, nominal_rate, reason, without_url
from roadseg.media.pictures.converter import BgrConverter
from roadseg.media.sources.backlog import newest
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.timeline import WALL_TIME_BASE, Timeline

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame

__all__ = ["StreamSource"]

_FALLBACK_RATE = Fraction(25)

# Pictures may arrive so much sooner than their clock says: they come in bursts.
_LATEST_S = 1.0

# Motion JPEG over HTTP has no timestamps; FFmpeg makes some up at 25 frames per second, and a
# recording of a 10 fps camera would then play too fast.
_UNTIMED_FORMATS = frozenset({"mpjpeg", "mjpeg", "jpeg_pipe", "mjpeg_2000"})


class StreamSource(Closing):
    """A live network stream; see `roadseg.media.sources.base.Source`.

    Raises (also `read`):
        SourceError: the stream ended, or no frame arrived for `timeout_s`.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        *,
        timeout_s: float,
        max_frames: int | None = None,
        stream: int | None = None,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._container = container
        self._name = name
        self._timeout_s = timeout_s
        self._max_frames = max_frames
        self._index = 0
        self._stream, others = choose_video(container, name, stream)
        if others is not None:
            self.warnings.append(others)
        # Frame threads would hold back as many frames as there are threads.
        self._stream.thread_type = "SLICE"
        rate = nominal_rate(self._stream)
        self._untimed = container.format.name in _UNTIMED_FORMATS
        own_base = self._stream.time_base or WALL_TIME_BASE
        self._time_base = WALL_TIME_BASE if self._untimed else Fraction(own_base)
        self._step_s = float(1 / (rate or _FALLBACK_RATE))
        self._captured_s: float | None = None
        self._interlaced = False
        step = float(1 / (rate or _FALLBACK_RATE) / self._time_base)
        self._timeline = Timeline(step, float(1 / self._time_base))
        self._pictures = self._decode()
        try:
            self._pending: tuple[VideoFrame, float] | None = self._next()
        except SourceError:
            self.close()
            raise
        first = self._pending[0]
        self._convert = BgrConverter(self._stream.sample_aspect_ratio)
        self.info = SourceInfo(
            name=name,
            kind="live",
            size_hw=self._convert.size_hw(first),
            rate=rate,
            frame_count=max_frames,
            has_audio=False,
            path=None,
            time_base=self._time_base,
            no_sound="that of live sources is left out" if container.streams.audio else None,
        )

    def _decode(self) -> Generator[VideoFrame, None, None]:
        """Pictures as they arrive; packets that cannot be decoded (the stream was entered
        between two key frames, a packet was lost on the way) are passed over. When the
        connection fails, the pictures that the decoder still holds come before the error."""
        import av

        packets = self._container.demux(self._stream)
        failure: Exception | None = None
        while True:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):
                break  # IndexError: PyAV stumbles at the end over streams that came up later
            except (av.error.FFmpegError, OSError) as exc:
                failure = exc
                break
            pictures = self._pictures_of(packet)
            yield from pictures
            if not pictures:
                self._check_patience()
        yield from self._pictures_of(None)
        try:
            if failure is not None:
                raise failure
        finally:
            # Its traceback holds this frame: a circle would keep the decoder and its threads.
            failure = None

    def _pictures_of(self, packet: av.Packet | None) -> list[VideoFrame]:
        import av

        try:
            return list(self._stream.decode(packet))
        except av.error.FFmpegError:
            return []

    def _check_patience(self) -> None:
        if time.monotonic() - self._waiting_since_s > self._timeout_s:
            raise SourceError(
                f"lost {self._name}: data arrives, but no picture could be decoded for "
                f"{self._timeout_s:g} s",
                fix="check the camera's codec settings",
            )

    def _next(self) -> tuple[VideoFrame, float]:
        import av

        self._waiting_since_s = time.monotonic()
        try:
            picture = next(self._pictures, None)
        except av.error.ExitError as exc:
            raise SourceError(
                f"lost {self._name}: no data for {self._timeout_s:g} s",
                fix="check the camera and the network",
            ) from without_url(exc, self._name)
        except (av.error.FFmpegError, OSError) as exc:
            # FFmpeg calls a connection that was closed an input/output error.
            closed = exc.errno == errno.EIO
            why = "the connection was closed" if closed else reason(exc)
            raise SourceError(
                f"lost {self._name}: {why}", fix="check the camera and the network"
            ) from without_url(exc, self._name)
        if picture is None:
            raise SourceError(
                f"lost {self._name}: the other side ended the stream",
                fix="check the camera and the network",
            )
        return picture, time.monotonic()

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        if self._index == 0 and self._pending is not None:
            self._pending = newest(self._pending, self._next, self._step_s, time.monotonic)
        (picture, captured_s), self._pending = self._pending or self._next(), None
        if picture.interlaced_frame and not self._interlaced:
            self._interlaced = True
            self.warnings.append(
                f"{self._name} is interlaced: moving edges have combs; set the camera to "
                "progressive pictures"
            )
        stamp = picture.pts
        if self._untimed:
            stamp = round(captured_s / self._time_base)
        # Its clock may leap as far as we have waited; a leap beyond that is a clock that was set.
        waited_s = captured_s - (self._captured_s or captured_s)
        longest = round((_LATEST_S + 1.5 * waited_s) / self._time_base)
        mended = self._timeline.mended
        ticks = self._timeline.ticks(stamp, longest=longest)
        if mended == 0 and self._timeline.mended:
            self.warnings.append(
                f"the clock of {self._name} jumps: pictures continue from those before them"
            )
        self._captured_s = captured_s
        image = self._convert(picture)
        frame = Frame(image, self._index, float(ticks * self._time_base), captured_s)
        self._index += 1
        return frame

    def close(self) -> None:
        """See `Source.close`."""
        # It holds the source, and the source it: unbroken, the ring keeps the decoder's threads.
        self._pictures.close()
        self._container.close()
