"""Video files, and URLs of finite length: every frame, in order, with the file's own times.

Read through PyAV rather than OpenCV, which hides timestamps (a variable frame rate would be
lost) and stops at the first damaged packet.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.closing import Closing
from roadseg.core.errors import SourceError, UsageError, unreadable
from roadseg.core.planes import Planes
from roadseg.core.types import Frame, Image
from roadseg.core.wording import option
from roadseg.media.container import (
    file_url,
    nominal_rate,
    open_input,
    rate_in_headers,
    reason,
)
from roadseg.media.pictures.converter import BgrConverter
from roadseg.media.pictures.picture import Picture
from roadseg.media.pictures.reader import PictureReader
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.timeline import Timeline
from roadseg.media.sources.truncation import is_cut_off

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["FileSource", "open_file"]

_FALLBACK_RATE = Fraction(25)

# FFmpeg's AVFMT_NOTIMESTAMPS.
_NO_TIMESTAMPS = 0x80

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
    planar: bool = False,
    threads: int | None = None,
) -> FileSource:
    """Open a video file.

    Args:
        path: the file.
        loop: start again at its end.
        max_frames: end after so many frames.
        fps: rate of an elementary stream, which has no times.
        stream: number of the video stream, from 1; None for the first that is no preview.
        planar, threads: see `FileSource`.

    Raises:
        SourceError: it cannot be read as a video.
        UsageError: `fps` is given, and the file has a rate of its own; `loop` with a pipe.
    """
    import av

    def open_container() -> InputContainer:
        return open_input(file_url(path))

    try:
        if path.is_file() and path.stat().st_size == 0:
            raise SourceError(f"{path} is empty (0 bytes)", fix="copy or record it again")
        container = open_container()
    except (av.error.FFmpegError, OSError) as exc:
        raise _unreadable(path, exc) from exc
    # FFmpeg would render any text file called .txt or .nfo as a film of scrolling characters.
    if container.format.name == "tty":
        container.close()
        raise SourceError(f"{path} is not a video", fix="give a video file, an image or a folder")
    if fps is not None and not _is_elementary(container):
        container.close()
        raise UsageError(
            f"{option('--fps')} is for images and bare streams; {path} has its own rate",
            fix="leave it out",
        )
    is_pipe = not path.is_file()
    if is_pipe and loop:
        container.close()
        raise UsageError(
            f"{path} is a pipe, which is read once", fix=f"leave out {option('--loop')}"
        )
    reopen = open_container if loop else None
    return FileSource(
        container,
        str(path),
        path=path,
        reopen=reopen,
        open_beside=None if is_pipe else open_container,
        max_frames=max_frames,
        fps=fps,
        stream=stream,
        planar=planar,
        threads=threads,
    )


def _is_elementary(container: InputContainer) -> bool:
    """Whether there are pictures alone, without times, as in .h264 files."""
    return bool(container.format.flags & _NO_TIMESTAMPS)


def _unreadable(path: Path, exc: BaseException) -> SourceError:
    import av

    if not isinstance(exc, av.error.InvalidDataError):
        return unreadable(SourceError, path, exc, reason(exc))
    head = b""
    if path.is_file():  # what was read of a pipe is gone
        with path.open("rb") as file:
            head = file.read(12)
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return SourceError(
            f"{path} was cut off: its index (the moov atom) is missing, so none of it can be "
            "decoded",
            fix="copy it again, or repair it with a tool such as untrunc",
        )
    return SourceError(
        f"{path} is not a video that FFmpeg can read",
        fix="give a video file, an image or a folder",
    )


class FileSource(Closing):
    """See `roadseg.media.sources.base.Source`. Takes over the container and closes it.

    With `open_beside` sound and data are offered, which are read through a container of their own.
    With `reopen`, which opens the same file once more, the file starts again at its end, and
    times and numbers go on. Sound is not offered then: it would end after the first round.
    (Seeking to the start would be cheaper, and fails on streams without an index.)

    With `planar` pictures come in planes where they can be taken as they are; see
    `BgrConverter.planes`. With `threads` so many decode, otherwise as many as help.
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
        planar: bool = False,
        threads: int | None = None,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._reopen = reopen
        self._max_frames = max_frames
        self._number = stream
        self._planar = planar
        self._threads = threads
        self._index = 0
        self._in_pass = 0
        self._repaired = 0
        self._reported = False
        self._name = name
        self._path = path
        self._reader = self._open(container)
        if self._reader.others is not None:
            self.warnings.append(self._reader.others)
        self._has_sound = bool(container.streams.audio)
        self._has_data = bool(container.streams.subtitles or container.streams.data)
        self._open_beside = open_beside
        self._last_end_s = 0.0
        self._reader.look_ahead(1)
        if not self._reader.ahead:
            self.close()
            error = self._reader.error
            raise self._reader.failure or SourceError(
                f"{name} holds no frame that can be decoded"
                + (f" ({error})" if error else "")
                + ": it is damaged or was cut off",
                fix="copy or record it again",
            )
        # Headers tell the rate once a picture has been decoded.
        self._stamped = not _is_elementary(container)
        stated = (nominal_rate if self._stamped else rate_in_headers)(self._reader.stream)
        self._rate = fps or stated or _FALLBACK_RATE
        if not self._stamped and fps is None and stated is None:
            self.warnings.append(
                f"{name} states neither times nor a rate: it plays at {self._rate} frames per "
                f"second; {option('--fps')} sets another rate"
            )
        # Stamps in ticks of a damaged header tell nothing.
        tick_s = Fraction(self._reader.stream.time_base or 0)
        self._stamped = self._stamped and 0 < tick_s <= _LONGEST_TICK_S
        self._time_base = tick_s if self._stamped else 1 / self._rate
        self._timeline = Timeline(
            float(1 / self._rate / self._time_base), float(1 / self._time_base)
        )
        self._mend_first()
        self._convert = BgrConverter(self._reader.stream.sample_aspect_ratio)
        self.info = self._describe(path, self._reader.ahead[0])

    def _open(self, container: InputContainer) -> PictureReader:
        return PictureReader(
            container,
            self._name,
            self._number,
            is_remote=self._path is None,
            threads=self._threads,
        )

    def _mend_first(self) -> None:
        """Time 0 is where the first picture belongs, whatever its stamp says: sound and data would
        all lie before or far behind it."""
        self._reader.look_ahead(3)
        ahead = self._reader.ahead
        stamps = [picture.stamp for picture in ahead]
        if self._stamped and self._timeline.begins_astray(stamps):
            second = stamps[1] or 0
            ahead[0] = replace(ahead[0], stamp=second - round(self._timeline.step))
            self._timeline.mended += 1

    def _describe(self, path: Path | None, first: Picture) -> SourceInfo:
        no_sound = None
        if self._has_sound and self._reopen is not None:
            no_sound = f"{option('--loop')} repeats the pictures only"
        elif self._has_sound and self._open_beside is None:
            no_sound = "it comes through a pipe, which is read once"
        beside = self._open_beside if self._reopen is None else None
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
            has_audio=self._has_sound and beside is not None,
            reopen=self._open_beside,
            has_data=self._has_data and beside is not None,
            no_sound=no_sound,
            path=path,
            time_base=self._time_base,
            start_s=start * self._time_base,
            tags=dict(self._reader.container.metadata),
            planar=self._planar and self._convert.planes(first.frame) is not None,
        )

    def _declared(self) -> int | None:
        """Frames that the container promises, None if it does not say."""
        if self._reader.stream.frames > 0:
            return int(self._reader.stream.frames)
        if not self._stamped:
            return None  # a guess by size and bit rate
        duration_s = self._duration_s()
        return None if duration_s is None else round(duration_s * float(self._rate))

    def _duration_s(self) -> float | None:
        import av

        if self._reader.stream.duration is not None:
            return float(self._reader.stream.duration * self._time_base)
        if self._reader.container.duration is not None:
            return float(self._reader.container.duration / av.time_base)
        return None

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        picture = self._reader.take()
        if picture is None:
            self._account()
            if self._reopen is None or self._in_pass == 0:
                return None
            self._again(self._reopen)
            picture = self._reader.take()
            if picture is None:
                return None
        self._reader.look_ahead(1)
        more = self._reader.ahead or self._reader.failure is not None
        is_last = not more and self._reopen is None
        self._repaired += picture.damaged
        time_s = float(self._ticks(picture) * self._time_base)
        duration_s = self._stands_s(picture, is_last=is_last)
        self._last_end_s = time_s + (duration_s or 1 / float(self._rate))
        stamp = picture.stamp if self._stamped else None
        frame = Frame(
            self._pixels(picture),
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

    def _ticks(self, picture: Picture) -> int:
        """When a picture is shown, in ticks since the first one."""
        stamp = picture.stamp if self._stamped else None
        if self._timeline.fits(stamp):
            return self._timeline.ticks(stamp, duration=picture.duration)
        pixels = picture.frame.width * picture.frame.height
        self._reader.look_ahead(max(1, min(_LOOK_AHEAD, _LOOK_AHEAD_PIXELS // pixels)))
        following = [each.stamp for each in self._reader.ahead]
        return self._timeline.ticks(stamp, following, duration=picture.duration)

    def _stands_s(self, picture: Picture, *, is_last: bool) -> float | None:
        """How long the source says that a picture is shown."""
        if not self._stamped:
            return float(self._time_base)
        ticks = picture.duration
        if is_last and picture.stamp == self._reader.latest[0]:
            ticks = self._reader.latest[1] or ticks
        if is_last and picture.stamp is not None:
            ticks = self._until_the_end(picture.stamp, ticks)
        duration_s = float(ticks * self._time_base)
        return duration_s if 0 < duration_s <= _LONGEST_STAND_S else None

    def _until_the_end(self, stamp: int, ticks: int) -> int:
        """How long the last picture stands, which is said to stand `ticks`."""
        import av

        stream, whole_us = self._reader.stream, self._reader.container.duration
        end = None
        if stream.duration is not None:
            end = (stream.start_time or 0) + stream.duration
        elif self._is_matroska and not self._has_sound and whole_us is not None:
            end = round(Fraction(whole_us, av.time_base) / self._time_base)
        if end is None or end <= stamp or self._timeline.mended:
            return ticks
        # Some containers state one duration for all pictures, and where the last one ends.
        # Matroska's end is where its writer ended, however long the last picture stood.
        whole = self._is_matroska and self._reader.error is None and not self._cut_off()
        return end - stamp if whole else min(ticks, end - stamp)

    @property
    def _is_matroska(self) -> bool:
        return "matroska" in self._reader.container.format.name

    def _pixels(self, picture: Picture) -> Image | Planes:
        frame = picture.frame
        planes = self._convert.planes(frame) if self._planar else None
        if planes is not None:
            return planes
        try:
            return self._convert(frame)
        except (ValueError, MemoryError, OSError) as exc:
            raise SourceError(
                f"{self._name}: cannot convert a {frame.width}x{frame.height} "
                f"{frame.format.name} frame ({reason(exc)})",
                fix="convert it to H.264",
            ) from exc

    def _again(self, reopen: Callable[[], InputContainer]) -> None:
        """Begin the next pass."""
        import av

        self._reader.close()
        try:
            container = reopen()
        except (av.error.FFmpegError, OSError) as exc:
            raise unreadable(SourceError, f"{self._name} again", exc, reason(exc)) from exc
        self._reader = self._open(container)
        self._in_pass = 0
        self._timeline.restart()

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
        if declared is not None and (self._reader.error or self._repaired or self._cut_off()):
            self.frames_lost = max(declared - decoded, 0)
        if self.frames_lost:
            about = "" if self._reader.stream.frames > 0 else "about "
            self.warnings.append(
                f"{self._name} is damaged or was cut off: {decoded} frames decoded, "
                f"{about}{self.frames_lost} lost"
            )
        elif self._reader.error:
            self.warnings.append(
                f"{self._name} is damaged ({self._reader.error}): {decoded} frames decoded"
            )
        if self._timeline.mended:
            self.warnings.append(
                f"the clock of {self._name} jumps or stands still: {self._timeline.mended} of "
                f"{decoded} pictures continue from those before them"
            )
        if self._reader.interlaced:
            self.warnings.append(
                f"{self._name} is interlaced: its {self._reader.interlaced} pictures of two halves "
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
        if self._timeline.mended:
            return False  # the end is as wrong as the clock
        # FFmpeg passes over zeros in an AVI without a word. Elsewhere a count that is not reached
        # says nothing.
        if self._reader.stream.frames > 0 and self._reader.container.format.name != "avi":
            return False
        if self._is_matroska or (self._reader.stream.duration is None and self._has_sound):
            return False  # the last picture may stand long, or the sound go on
        duration_s = self._duration_s()
        return duration_s is not None and duration_s - self._last_end_s > _SHORTFALL_S

    def close(self) -> None:
        """See `Source.close`."""
        self._reader.close()
