"""Video files, and URLs of finite length: every frame, in order, with the file's own times.

Read through PyAV rather than OpenCV, which hides timestamps (a variable frame rate would be
lost) and stops at the first damaged packet.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.errors import SourceError
from roadseg.types import Frame
from roadseg.video.media import BgrConverter, file_url, nominal_rate, reason, video_stream
from roadseg.video.source import SourceInfo
from roadseg.video.timeline import Timeline
from roadseg.video.truncation import is_cut_off

if TYPE_CHECKING:
    import av
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["FileSource", "open_file"]

_FALLBACK_RATE = Fraction(25)

# A cut mp4 fails once for every frame that its index promises and the file does not hold;
# after this many failures in a row the rest is gone.
_FAILURES_IN_A_ROW = 100

# Containers without a frame count give a duration, which may be off by a little in a sound
# file; a shortfall of more than this is damage.
_SHORTFALL_S = 1.0


def open_file(path: Path, *, loop: bool, max_frames: int | None) -> FileSource:
    """Open a video file.

    Raises:
        SourceError: it cannot be read as a video.
    """
    import av

    def open_container() -> InputContainer:
        container: InputContainer = av.open(file_url(path), "r")
        return container

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
    reopen = open_container if loop else None
    return FileSource(
        container,
        str(path),
        path=path,
        reopen=reopen,
        open_sound=open_container,
        max_frames=max_frames,
    )


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
        open_sound: Callable[[], InputContainer] | None = None,
        max_frames: int | None = None,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._container = container
        self._reopen = reopen
        self._max_frames = max_frames
        self._index = 0
        self._in_pass = 0
        self._repaired = 0
        self._error: str | None = None
        self._reported = False
        self._convert = BgrConverter()
        self._name = name
        self._path = path
        self._stream = self._main_stream(container)
        self._rate = nominal_rate(self._stream) or _FALLBACK_RATE
        self._time_base = Fraction(self._stream.time_base or 1 / self._rate)
        self._timeline = Timeline(
            round(1 / self._rate / self._time_base), float(1 / self._time_base)
        )
        self._has_sound = bool(container.streams.audio)
        self._open_sound = open_sound
        self._pictures = self._decode()
        self._last_end_s = 0.0
        try:
            first = next(self._pictures, None)
        except SourceError:
            self.close()
            raise
        if first is None:
            self.close()
            raise SourceError(
                f"{name} holds no frame that can be decoded"
                + (f" ({self._error})" if self._error else "")
                + ": it is damaged or was cut off; copy or record it again"
            )
        self._pending: VideoFrame | None = first
        self.info = self._describe(path, first)

    def _main_stream(self, container: InputContainer) -> VideoStream:
        stream = video_stream(container, self._name)
        # Frame threads decode several pictures at once: twice as fast on two cores.
        stream.thread_type = "AUTO"
        return stream

    def _describe(self, path: Path | None, first: VideoFrame) -> SourceInfo:
        turned = round(first.rotation / 90) % 2 == 1
        size_hw = (first.width, first.height) if turned else (first.height, first.width)
        aspect = Fraction(self._stream.sample_aspect_ratio or 1)
        count = self._declared()
        if count is not None and self._max_frames is not None:
            count = min(count, self._max_frames)
        start = _stamp(first) or 0
        return SourceInfo(
            name=self._name,
            kind="file",
            size_hw=size_hw,
            rate=self._rate,
            frame_count=self._max_frames if self._reopen else count,
            has_audio=self._has_sound and self._reopen is None,
            open_sound=self._open_sound,
            no_sound="--loop repeats the pictures only"
            if self._reopen and self._has_sound
            else None,
            path=path,
            time_base=self._time_base,
            start_s=start * self._time_base,
            sample_aspect=1 / aspect if turned and aspect else aspect or Fraction(1),
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

    def _decode(self) -> Generator[VideoFrame, None, None]:
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
            yield from self._pictures_of(packet)
        yield from self._pictures_of(None)

    def _pictures_of(self, packet: av.Packet | None) -> list[VideoFrame]:
        import av

        try:
            return list(self._stream.decode(packet))
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
        picture, self._pending = self._pending, None
        if picture is None:
            picture = next(self._pictures, None)
        if picture is None:
            self._account()
            if self._reopen is None or self._in_pass == 0:
                return None
            picture = self._again(self._reopen)
            if picture is None:
                return None
        self._repaired += bool(picture.is_corrupt)
        stamp = _stamp(picture)
        ticks = self._timeline.ticks(stamp)
        time_s = float(ticks * self._time_base)
        self._last_end_s = time_s + 1 / float(self._rate)
        try:
            image = self._convert(picture)
        except (ValueError, MemoryError, OSError) as exc:
            raise SourceError(
                f"{self._name}: cannot convert a {picture.width}x{picture.height} "
                f"{picture.format.name} frame ({reason(exc)})"
            ) from exc
        source_s = None if stamp is None else float(stamp * self._time_base)
        frame = Frame(image, self._index, time_s, time.monotonic(), source_s=source_s)
        self._index += 1
        self._in_pass += 1
        return frame

    def _again(self, reopen: Callable[[], InputContainer]) -> VideoFrame | None:
        """The first picture of the next pass."""
        import av

        self._container.close()
        try:
            self._container = reopen()
        except (av.error.FFmpegError, OSError) as exc:
            raise SourceError(f"cannot loop {self._name}: {reason(exc)}") from exc
        self._stream = self._main_stream(self._container)
        self._in_pass = 0
        self._timeline.restart()
        self._pictures = self._decode()
        return next(self._pictures, None)

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
        if self._repaired:
            self.warnings.append(
                f"{self._name}: {self._repaired} of the frames decoded are damaged pictures"
            )

    def _cut_off(self) -> bool:
        """The file ends before its declared end, though nothing failed."""
        if self._path is not None and self._path.is_file() and is_cut_off(self._path):
            return True
        if self._stream.frames > 0 or (self._stream.duration is None and self._has_sound):
            return False  # a count; or a duration that may be that of the sound
        duration_s = self._duration_s()
        return duration_s is not None and duration_s - self._last_end_s > _SHORTFALL_S

    def close(self) -> None:
        """See `Source.close`."""
        self._pictures.close()
        self._container.close()

    def __enter__(self) -> FileSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def _stamp(picture: VideoFrame) -> int | None:
    """Presentation timestamp; containers such as AVI only store the decoding one."""
    return picture.pts if picture.pts is not None else picture.dts
