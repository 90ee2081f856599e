"""Several files as one source: the clips that a dashcam cut one drive into.

Times and numbers of the frames go on from file to file, every frame is there once, and nothing
behind the source notices the cuts: events, smoothing and the timeline carry on over them. Each file
has a decoder of its own, so that the frames are those that each file gives alone. Sound and
subtitles are read through FFmpeg's concat demuxer, in one container.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.closing import Closing
from roadseg.core.errors import SourceError
from roadseg.core.types import Frame
from roadseg.media.clip_facts import ClipFacts, clip_facts
from roadseg.media.container import file_url, open_input
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.file import FileSource, open_file
from roadseg.media.sources.timeline import WALL_TIME_BASE

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["JoinedSource"]

# AVI counts pictures; the next file's may come at another rate.
_COARSE_S = Fraction(1, 1000)

_MICROSECOND = Fraction(1, 1_000_000)


@dataclass(frozen=True, slots=True)
class _Part:
    """A file, and where it begins on the clock that sound is read by."""

    path: Path
    facts: ClipFacts
    begins_s: Fraction


class JoinedSource(Closing):
    """See `roadseg.media.sources.base.Source`.

    A gap between two clips is not shown: the first picture of a clip follows the last one of the
    clip before. A clip that cannot be read is passed over, with a warning, and its frames are
    lost.

    Args:
        paths: video files, in order.
        max_frames: end after so many frames.
        stream: number of the video stream, from 1; None for the first that is no preview.
        planar, threads: see `FileSource`.

    Raises:
        SourceError: none of the files can be read.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        max_frames: int | None = None,
        stream: int | None = None,
        planar: bool = False,
        threads: int | None = None,
    ) -> None:
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._max_frames = max_frames
        self._stream, self._planar, self._threads = stream, planar, threads
        self._failure: SourceError | None = None
        parts = self._found(paths)
        self._following = iter(parts)
        self._now: tuple[_Part, FileSource] | None = None
        self._index = 0
        self._offset_s = Fraction(0)
        self._end_s = Fraction(0)
        self._open_next()
        if self._now is None:
            assert self._failure is not None
            raise self._failure
        self.info: SourceInfo = self._describe(parts, *self._now)

    def _found(self, paths: Iterable[Path]) -> list[_Part]:
        parts = []
        begins_s = Fraction(0)
        for path in paths:
            try:
                facts = clip_facts(path, self._stream)
            except SourceError as exc:
                self._pass_over(path, exc)
                continue
            parts.append(_Part(path, facts, begins_s))
            begins_s += _duration_s(facts)
        return parts

    def _pass_over(self, path: Path, exc: SourceError, frames: int = 0) -> None:
        self._failure = self._failure or exc
        self.frames_lost += frames
        self.warnings.append(f"the drive goes on without {path}: {exc.what}")

    def _open_next(self) -> None:
        """Open the next file that can be read; none is open at the end."""
        self._now = None
        for part in self._following:
            try:
                source = open_file(
                    part.path,
                    loop=False,
                    max_frames=None,
                    stream=self._stream,
                    planar=self._planar,
                    threads=self._threads,
                )
            except SourceError as exc:
                self._pass_over(part.path, exc, part.facts.frames or 0)
                continue
            self._now = part, source
            self._offset_s = self._end_s
            return

    def _describe(self, parts: Sequence[_Part], first: _Part, source: FileSource) -> SourceInfo:
        info = source.info
        counts = [part.facts.frames for part in parts]
        count = None if None in counts else sum(each or 0 for each in counts)
        if count is not None and self._max_frames is not None:
            count = min(count, self._max_frames)
        alike = len({part.facts.tracks for part in parts}) == 1
        others = len(parts) - 1
        time_base = info.time_base
        if others and time_base is not None and time_base > _COARSE_S:
            time_base = WALL_TIME_BASE
        return replace(
            info,
            time_base=time_base,
            name=f"{info.name} and {others} more" if others else info.name,
            frame_count=count,
            has_audio=info.has_audio and alike,
            has_data=info.has_data and alike,
            no_sound=None if alike else "the clips of the drive differ in their tracks",
            start_s=Fraction(_on_joined_clock(first, float(info.start_s))),
            reopen=_Reopening(parts),
            parts=tuple(part.path for part in parts),
            cuts_s=tuple(part.begins_s for part in parts),
        )

    def read(self) -> Frame | None:
        """See `Source.read`."""
        if self._max_frames is not None and self._index >= self._max_frames:
            return None
        while self._now is not None:
            part, source = self._now
            frame = source.read()
            if frame is None:
                self._finish(source)
                continue
            time_s = self._offset_s + Fraction(frame.time_s)
            self._end_s = self._on_tick(time_s + Fraction(frame.duration_s or self._step_s(source)))
            if frame.is_last and source.read() is None:
                # Whether the drive ends with it depends on the clips behind it.
                self._finish(source)
            frame = replace(
                frame,
                index=self._index,
                time_s=float(time_s),
                is_last=frame.is_last and self._now is None,
                source_s=None if frame.source_s is None else _on_joined_clock(part, frame.source_s),
            )
            self._index += 1
            return frame
        return None

    def _finish(self, source: FileSource) -> None:
        self._take_over(source)
        self._open_next()

    def _take_over(self, source: FileSource) -> None:
        source.close()
        self.warnings += source.warnings
        self.frames_lost += source.frames_lost

    @staticmethod
    def _step_s(source: FileSource) -> Fraction:
        return 1 / source.info.rate if source.info.rate else Fraction(0)

    def _on_tick(self, time_s: Fraction) -> Fraction:
        base = self.info.time_base or _MICROSECOND
        return round(time_s / base) * base

    def close(self) -> None:
        """See `Source.close`."""
        now, self._now = self._now, None
        self._following = iter(())
        if now is not None:
            self._take_over(now[1])


def _duration_s(facts: ClipFacts) -> Fraction:
    return round(Fraction(facts.duration_s or 0) / _MICROSECOND) * _MICROSECOND


def _on_joined_clock(part: _Part, source_s: float) -> float:
    """Where FFmpeg's concat demuxer puts a time of one of its files."""
    return float(Fraction(source_s) - Fraction(part.facts.start_s) + part.begins_s)


class _Reopening:
    """Opens all files as one container; each begins where its headers say the one before ends."""

    def __init__(self, parts: Sequence[_Part]) -> None:
        self._list = "ffconcat version 1.0\n" + "".join(map(_entry, parts))

    def __call__(self) -> InputContainer:
        import av

        lines = io.BytesIO(self._list.encode("utf-8", "surrogateescape"))
        with contextlib.suppress(av.error.FFmpegError):
            return open_input(lines, format="concat", options={"safe": "0"})
        raise OSError("FFmpeg cannot join the clips' tracks")


def _entry(part: _Part) -> str:
    quoted = file_url(part.path.resolve()).replace("'", "'\\''")
    return f"file '{quoted}'\nduration {float(_duration_s(part.facts)):.6f}\n"
