"""Results of one camera as files of some minutes each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from roadseg.core.errors import SinkError
from roadseg.core.types import Image
from roadseg.live.outputs import Result
from roadseg.live.recording.names import segment_paths
from roadseg.live.recording.room import Room
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sinks.targets import TargetTakenError
from roadseg.media.sources.base import SourceInfo

# After a pause of the camera's a new file begins: nobody wants to watch an hour of one picture.
_GAP_S = 10.0

# A disk that fails is tried again so often.
_RETRY_S = 10.0


@dataclass(frozen=True)
class View:
    """One of the files that are written side by side.

    Attributes:
        ending: of the names, before `.mp4`.
        render: makes the picture of a result.
    """

    ending: str
    render: Callable[[Result], Image]


class SegmentWriter:
    """A `Writer` that begins a new file every so many seconds, and when the pictures change size.

    A disk that is full or fails costs what it cannot take, and no more: it is noted, and tried
    again.

    Args:
        folder: for the files; exists.
        source: name of the camera.
        views: what is written of each result.
        seconds: length of a file.
        room: on the disk.
        note: gets what has become of the recording, and why.
        clock: seconds.
    """

    def __init__(
        self,
        folder: Path,
        source: str,
        views: Sequence[View],
        seconds: float,
        room: Room,
        note: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder, self._source, self._views = folder, source, tuple(views)
        self._seconds, self._room, self._note, self._clock = seconds, room, note, clock
        self._sinks: list[Mp4Sink] = []
        self._begin_s = self._last_s = 0.0
        self._size_hw = (0, 0)
        self._on = False
        self._why = ""
        self._retry_s = float("-inf")
        self._finishing: list[threading.Thread] = []

    def write(self, result: Result, info: SourceInfo) -> None:
        """See `Writer.write`; no failure of the disk comes out of it."""
        if self._clock() < self._retry_s:
            return
        try:
            if not self._room.enough():
                self._pause(self._room.shortage)
                return
            if self._is_over(result):
                self._finish()
                self._begin(result, info)
            frame = replace(result.frame, time_s=result.frame.time_s - self._begin_s)
            for view, sink in zip(self._views, self._sinks, strict=True):
                sink.write(view.render(result), frame)
        except SinkError as exc:
            self._retry_s = self._clock() + _RETRY_S
            self._pause(str(exc))
            return
        self._last_s = result.frame.time_s
        if not self._on:
            self._on, self._why = True, ""
            self._note("recording", "")

    def close(self, *, ok: bool) -> None:  # noqa: ARG002  (what was recorded is always kept)
        """See `Writer.close`."""
        self._finish()
        for thread in self._finishing:
            thread.join()
        if self._on:
            self._note("recording ended", "")

    def _is_over(self, result: Result) -> bool:
        time_s = result.frame.time_s
        return (
            not self._sinks
            or time_s - self._begin_s >= self._seconds
            or not 0 <= time_s - self._last_s <= _GAP_S
            or result.frame.size_hw != self._size_hw
        )

    def _begin(self, result: Result, info: SourceInfo) -> None:
        wall_s = time.time() - result.age_s
        began = datetime.fromtimestamp(wall_s, timezone.utc).isoformat(timespec="seconds")
        info = replace(
            info,
            kind="live",
            frame_count=None,
            has_audio=False,
            has_data=False,
            no_sound=None,
            reopen=None,
            tags={**info.tags, "creation_time": began.replace("+00:00", "Z")},
        )
        for path in segment_paths(self._folder, self._source, wall_s):
            try:
                self._sinks = self._open(path, info)
                break
            except TargetTakenError:
                continue
        self._begin_s = self._last_s = result.frame.time_s
        self._size_hw = result.frame.size_hw

    def _open(self, path: Path, info: SourceInfo) -> list[Mp4Sink]:
        sinks: list[Mp4Sink] = []
        try:
            for view in self._views:
                place = path.with_name(f"{path.stem}{view.ending}.mp4")
                sinks.append(Mp4Sink(place, info, overwrite=False, live=True))
        except BaseException:
            for sink in sinks:
                sink.close(ok=False)
            raise
        return sinks

    def _pause(self, why: str) -> None:
        self._finish()
        if self._on or not self._why:
            self._note("recording paused", why)
        self._on, self._why = False, why

    def _finish(self) -> None:
        """Complete the files beside what goes on: that waits for the disk."""
        sinks, self._sinks = self._sinks, []
        if not sinks:
            return
        self._finishing = [each for each in self._finishing if each.is_alive()]
        thread = threading.Thread(target=self._complete, args=(sinks,), name="roadseg-finish")
        self._finishing.append(thread)
        thread.start()

    def _complete(self, sinks: list[Mp4Sink]) -> None:
        for sink in sinks:
            try:
                sink.close(ok=True)
            except SinkError as exc:  # noqa: PERF203
                self._note("recording cut short", str(exc))
