"""Video files, and URLs of finite length: every frame, in order, with the file's own times.

Read through PyAV rather than OpenCV, which hides timestamps (a variable frame rate would be
lost) and stops at the first damaged packet.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.errors import SourceError, UsageError
from roadseg.types import Frame, Image
from roadseg.video.media import (
    choose_video,
    file_url,
    nominal_rate,
    open_input,
    rate_in_headers,
    reason,
)
from roadseg.video.pictures.converter import BgrConverter
from roadseg.video.pictures.interlace import Deinterlacer
from roadseg.video.pictures.picture import Picture
from roadseg.video.source import SourceInfo
from roadseg.video.timeline import Timeline
from roadseg.video.truncation import is_cut_off
from roadseg.wording import option

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["FileSource", "open_file"]

_FALLBACK_RATE = Fraction(25)

# FFmpeg's AVFMT_NOTIMESTAMPS.
_NO_TIMESTAMPS = 0x80

# A cut mp4 fails once for every frame that its index promises and the file does not hold;
# after this many failures in a row the rest is gone.
_FAILURES_IN_A_ROW = 100

# Clocks of videos that show a picture every few seconds tick every few seconds, at the slowest.
_LONGEST_TICK_S = 60

# Pictures that are decoded ahead where a stamp is odd, to see whether the clock comes back; fewer
# of large ones.
_LOOK_AHEAD = 16
_LOOK_AHEAD_PIXELS = 64 * 2**20

# A picture that is said to stand longer has a damaged header.
_LONGEST_STAND_S = 3600.0

# Containers without a frame count give a duration, which may be off by a little in a sound
# file; a shortfall of more than this is damage.
_SHORTFALL_S = 1.0


def open_file(
    path: Path,
    *,
    loop: bool,
    max_frames: int | None,
    fps: Fraction | None = None,
    stream: int | None = None,
) -> FileSource:
    """Open a video file.

    Args:
        path: the file.
        loop: start again at its end.
        max_frames: end after so many frames.
        fps: rate of an elementary stream, which has no times.
        stream: number of the video stream, from 1; None for the first that is no preview.

    Raises:
        SourceError: it cannot be read as a video.
        UsageError: `fps` is given, and the file has a rate of its own.
    """
    import av

    def open_container() -> InputContainer:
        return open_input(file_url(path))

    try:
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes): copy or record it again")
        container = open_container()
    except (av.error.FFmpegError, OSError) as exc:
        raise SourceError(_why_unreadable(path, exc)) from exc
    # FFmpeg would render any text file called .txt or .nfo as a film of scrolling characters.
    if container.format.name == "tty":
        container.close()
        raise SourceError(f"{path} is not a video: give a video file, an image or a folder")
    if fps is not None and not _is_elementary(container):
        container.close()
        raise UsageError(
            f"{option('--fps')} is for images and bare streams; {path} has its own rate: "
            "leave it out"
        )
    reopen = open_container if loop else None
    return FileSource(
        container,
        str(path),
        path=path,
        reopen=reopen,
        open_beside=open_container,
        max_frames=max_frames,
        fps=fps,
        stream=stream,
    )


def _is_elementary(container: InputContainer) -> bool:
    """Whether there are pictures alone, without times, as in .h264 files."""
    return bool(container.format.flags & _NO_TIMESTAMPS)


def _why_unreadable(path: Path, exc: BaseException) -> str:
    import av

    if not isinstance(exc, av.error.InvalidDataError):
        return f"cannot read {path}: {reason(exc)}"
    with path.open("rb") as file:
        head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return (
            f"{path} was cut off: its index (the moov atom) is missing, so none of it can be "
            "decoded; copy it again, or repair it with a tool such as untrunc"
        )
    return f"{path} is not a video that FFmpeg can read: give a video file, an image or a folder"


class FileSource:
    """See `roadseg.video.source.Source`. Takes over the container and closes it.

    With `reopen`, which opens the same file once more, the file starts again at its end, and
    times and numbers go on. Sound is not offered then: it would end after the first round.
    (Seeking to the start would be cheaper, and fails on streams without an index.)
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        *,
        path: Path | None,
        reopen: Callable[[], InputContainer] | None = None,
        open_beside: Callable[[], InputContainer] | None = None,
        max_frames: int | None = None,
        fps: Fraction | None = None,
        stream: int | None = None,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._container = container
        self._reopen = reopen
        self._max_frames = max_frames
        self._number = stream
        self._index = 0
        self._in_pass = 0
        self._repaired = 0
        self._error: str | None = None
        # Time and duration of the packet shown last; not every PyAV tells pictures theirs.
        self._latest = (0, 0)
        self._failure: SourceError | None = None
        self._reported = False
        self._name = name
        self._path = path
        self._stream, others = self._main_stream(container)
        if others is not None:
            self.warnings.append(others)
        self._has_sound = bool(container.streams.audio)
        self._has_data = bool(container.streams.subtitles or container.streams.data)
        self._open_beside = open_beside
        self._ahead: deque[Picture] = deque()
        self._deinterlace = Deinterlacer()
        self._decoded = self._decode()
        self._pictures = self._deinterlace(self._decoded)
        self._last_end_s = 0.0
        self._look_ahead(1)
        if not self._ahead:
            self.close()
            raise self._failure or SourceError(
                f"{name} holds no frame that can be decoded"
                + (f" ({self._error})" if self._error else "")
                + ": it is damaged or was cut off; copy or record it again"
            )
        # Headers tell the rate once a picture has been decoded.
        self._stamped = not _is_elementary(container)
        stated = (nominal_rate if self._stamped else rate_in_headers)(self._stream)
        self._rate = fps or stated or _FALLBACK_RATE
        if not self._stamped and fps is None and stated is None:
            self.warnings.append(
                f"{name} states neither times nor a rate: it plays at {self._rate} frames per "
                f"second; {option('--fps')} sets another rate"
            )
        # Stamps in ticks of a damaged header tell nothing.
        tick_s = Fraction(self._stream.time_base or 0)
        self._stamped = self._stamped and 0 < tick_s <= _LONGEST_TICK_S
        self._time_base = tick_s if self._stamped else 1 / self._rate
        self._timeline = Timeline(
            float(1 / self._rate / self._time_base), float(1 / self._time_base)
        )
        self._mend_first()
        self._convert = BgrConverter(self._stream.sample_aspect_ratio)
        self.info = self._describe(path, self._ahead[0])

    def _main_stream(self, container: InputContainer) -> tuple[VideoStream, str | None]:
        stream, others = choose_video(container, self._name, self._number)
        # Frame threads decode several pictures at once: twice as fast on two cores.
        stream.thread_type = "AUTO"
        return stream, others

    def _mend_first(self) -> None:
        """Time 0 is where the first picture belongs, whatever its stamp says: sound and data would
        all lie before or far behind it."""
        self._look_ahead(3)
        stamps = [picture.stamp for picture in self._ahead]
        if self._stamped and self._timeline.begins_astray(stamps):
            second = stamps[1] or 0
            self._ahead[0] = replace(self._ahead[0], stamp=second - round(self._timeline.step))
            self._timeline.mended += 1

    def _describe(self, path: Path | None, first: Picture) -> SourceInfo:
        count = self._declared()
        if count is not None and self._max_frames is not None:
            count = min(count, self._max_frames)
        start = first.stamp or 0 if self._stamped else 0
        return SourceInfo(
            name=self._name,
            kind="file",
            size_hw=self._convert.size_hw(first.frame),
            rate=self._rate,
            frame_count=self._max_frames if self._reopen else count,
            has_audio=self._has_sound and self._reopen is None,
            reopen=self._open_beside,
            has_data=self._has_data and self._reopen is None,
            no_sound=f"{option('--loop')} repeats the pictures only"
            if self._reopen and self._has_sound
            else None,
            path=path,
            time_base=self._time_base,
            start_s=start * self._time_base,
            tags=dict(self._container.metadata),
        )

    def _declared(self) -> int | None:
        """Frames that the container promises, None if it does not say."""
        if self._stream.frames > 0:
            return int(self._stream.frames)
        duration_s = self._duration_s()
        return None if duration_s is None else round(duration_s * float(self._rate))

    def _duration_s(self) -> float | None:
        import av

        if self._stream.duration is not None:
            return float(self._stream.duration * self._time_base)
        if self._container.duration is not None:
            return float(self._container.duration / av.time_base)
        return None

    def _decode(self) -> Generator[Picture, None, None]:
        """Every picture of one pass that can be decoded; damage is noted, not raised."""
        import av

        packets = self._container.demux(self._stream)
        failures = 0
        while failures < _FAILURES_IN_A_ROW:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):
                # IndexError: PyAV stumbles at the end over streams that came up on the way.
                break
            except (av.error.FFmpegError, OSError) as exc:
                if self._path is None and not isinstance(exc, av.error.InvalidDataError):
                    raise SourceError(
                        f"lost {self._name}: {reason(exc)}; check the network and run it again"
                    ) from exc
                self._note_damage(exc)
                failures += 1
                packets = self._container.demux(self._stream)
                continue
            failures = 0
            if packet.pts is not None and packet.pts >= self._latest[0]:
                self._latest = packet.pts, packet.duration or 0
            yield from self._pictures_of(packet)
        yield from self._pictures_of(None)

    def _pictures_of(self, packet: av.Packet | None) -> list[Picture]:
        import av

        try:
            return [Picture.of(frame) for frame in self._stream.decode(packet)]
        except av.error.EOFError:
            return []
        except (av.error.FFmpegError, OSError) as exc:
            self._note_damage(exc)
            return []

    def _note_damage(self, exc: BaseException) -> None:
        self._error = self._error or reason(exc)

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        self._look_ahead(1)
        if not self._ahead and self._failure is not None:
            raise self._failure
        if not self._ahead:
            self._account()
            if self._reopen is None or self._in_pass == 0:
                return None
            self._again(self._reopen)
            if not self._ahead:
                return None
        picture = self._ahead.popleft()
        self._look_ahead(1)
        is_last = not self._ahead and self._failure is None and self._reopen is None
        self._repaired += picture.damaged
        time_s = float(self._ticks(picture) * self._time_base)
        duration_s = self._stands_s(picture, is_last=is_last)
        self._last_end_s = time_s + (duration_s or 1 / float(self._rate))
        stamp = picture.stamp if self._stamped else None
        frame = Frame(
            self._image(picture),
            self._index,
            time_s,
            time.monotonic(),
            duration_s=duration_s,
            is_last=is_last,
            source_s=None if stamp is None else float(stamp * self._time_base),
        )
        self._index += 1
        self._in_pass += 1
        return frame

    def _look_ahead(self, count: int) -> None:
        """Decode until so many pictures wait, or there are no more."""
        try:
            while len(self._ahead) < count and self._failure is None:
                picture = next(self._pictures, None)
                if picture is None:
                    return
                self._ahead.append(picture)
        except SourceError as exc:
            self._failure = exc  # raised once the pictures before it have been read

    def _ticks(self, picture: Picture) -> int:
        """When a picture is shown, in ticks since the first one."""
        stamp = picture.stamp if self._stamped else None
        if self._timeline.fits(stamp):
            return self._timeline.ticks(stamp, duration=picture.duration)
        pixels = picture.frame.width * picture.frame.height
        self._look_ahead(max(1, min(_LOOK_AHEAD, _LOOK_AHEAD_PIXELS // pixels)))
        following = [each.stamp for each in self._ahead]
        return self._timeline.ticks(stamp, following, duration=picture.duration)

    def _stands_s(self, picture: Picture, *, is_last: bool) -> float | None:
        """How long the source says that a picture is shown."""
        if not self._stamped:
            return float(self._time_base)
        ticks = picture.duration
        if is_last and picture.stamp == self._latest[0]:
            ticks = self._latest[1] or ticks
        if is_last and picture.stamp is not None:
            ticks = self._until_the_end(picture.stamp, ticks)
        duration_s = float(ticks * self._time_base)
        return duration_s if 0 < duration_s <= _LONGEST_STAND_S else None

    def _until_the_end(self, stamp: int, ticks: int) -> int:
        """How long the last picture stands, which is said to stand `ticks`."""
        import av

        end = None
        if self._stream.duration is not None:
            end = (self._stream.start_time or 0) + self._stream.duration
        elif self._is_matroska and not self._has_sound and self._container.duration is not None:
            end = round(Fraction(self._container.duration, av.time_base) / self._time_base)
        if end is None or end <= stamp or self._timeline.mended:
            return ticks
        # Some containers state one duration for all pictures, and where the last one ends.
        # Matroska's end is where its writer ended, however long the last picture stood.
        whole = self._is_matroska and self._error is None and not self._cut_off()
        return end - stamp if whole else min(ticks, end - stamp)

    @property
    def _is_matroska(self) -> bool:
        return "matroska" in self._container.format.name

    def _image(self, picture: Picture) -> Image:
        frame = picture.frame
        try:
            return self._convert(frame)
        except (ValueError, MemoryError, OSError) as exc:
            raise SourceError(
                f"{self._name}: cannot convert a {frame.width}x{frame.height} "
                f"{frame.format.name} frame ({reason(exc)})"
            ) from exc

    def _again(self, reopen: Callable[[], InputContainer]) -> None:
        """Begin the next pass."""
        import av

        self._container.close()
        try:
            self._container = reopen()
        except (av.error.FFmpegError, OSError) as exc:
            raise SourceError(f"cannot loop {self._name}: {reason(exc)}") from exc
        self._stream, _ = self._main_stream(self._container)
        self._in_pass = 0
        self._timeline.restart()
        self._decoded = self._decode()
        self._pictures = self._deinterlace(self._decoded)
        self._look_ahead(1)

    def _account(self) -> None:
        """At the end of the first pass: what did the file promise and not hold?

        Only a file that shows damage is held to its word. In a sound one, a count that is not
        reached is an edit list at work (frames that are stored and ask not to be shown), and a
        duration is an estimate.
        """
        if self._reported:
            return
        self._reported = True
        decoded = self._in_pass
        declared = self._declared()
        if declared is not None and (self._error or self._repaired or self._cut_off()):
            self.frames_lost = max(declared - decoded, 0)
        if self.frames_lost:
            about = "" if self._stream.frames > 0 else "about "
            self.warnings.append(
                f"{self._name} is damaged or was cut off: {decoded} frames decoded, "
                f"{about}{self.frames_lost} lost"
            )
        elif self._error:
            self.warnings.append(
                f"{self._name} is damaged ({self._error}): {decoded} frames decoded"
            )
        if self._timeline.mended:
            self.warnings.append(
                f"the clock of {self._name} jumps or stands still: {self._timeline.mended} of "
                f"{decoded} pictures continue from those before them"
            )
        if self._deinterlace.seen:
            self.warnings.append(
                f"{self._name} is interlaced: its {self._deinterlace.seen} pictures of two halves "
                "each were deinterlaced"
            )
        if self._repaired:
            self.warnings.append(
                f"{self._name}: {self._repaired} of the frames decoded are damaged pictures"
            )

    def _cut_off(self) -> bool:
        """The file ends before its declared end, though nothing failed."""
        if self._path is not None and self._path.is_file() and is_cut_off(self._path):
            return True
        if self._stream.frames > 0 or self._timeline.mended:
            return False  # there is a count; or the end is as wrong as the clock
        if self._is_matroska or (self._stream.duration is None and self._has_sound):
            return False  # the last picture may stand long, or the sound go on
        duration_s = self._duration_s()
        return duration_s is not None and duration_s - self._last_end_s > _SHORTFALL_S

    def close(self) -> None:
        """See `Source.close`."""
        self._ahead.clear()
        self._decoded.close()
        self._container.close()

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
