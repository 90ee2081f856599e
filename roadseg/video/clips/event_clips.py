"""Writes a clip and a snapshot of each event, in a thread of its own.

The run hands over each encoded picture and what each frame means for clips, and goes on; only where
the disk is so slow that many wait does it wait, too.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from roadseg.core.errors import UsageError
from roadseg.core.types import Frame, Image, Picture, as_bgr
from roadseg.core.wording import option
from roadseg.media.sinks.clips import EncodedPicture, PacketTap, PictureEncoder
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.video.clips.cues import Cues
from roadseg.video.clips.cutter import Cutter
from roadseg.video.clips.folder import ClipFolder
from roadseg.video.clips.roll import MOST_S, Roll

if TYPE_CHECKING:
    from roadseg.media.sinks.sink import Sink
    from roadseg.media.sources.base import SourceInfo
    from roadseg.road import Rule


_MOST_WAITING = 512

_AGAIN: Final = "again"
_Told: TypeAlias = "EncodedPicture | tuple[float, Cues, Image | None] | Literal['again'] | None"


def open_clips(
    folder: ClipFolder, rules: Sequence[Rule], roll: Roll, sink: Sink | None, source: SourceInfo
) -> EventClips:
    """Clips of what `sink` records, or, where it does not encode, of pictures encoded for them.

    Args:
        folder: where they go.
        rules: of the events.
        roll: what clips show before and after their events.
        sink: takes the same pictures.
        source: where they come from.

    Raises:
        UsageError: a rule needs so much time that memory might not do.
    """
    for rule in rules:
        for what, seconds in (("for", rule.for_s), ("hold-off", rule.hold_off_s)):
            if seconds > MOST_S:
                raise UsageError(
                    f"event {rule.name!r} has {what} {seconds:g}s, too long for a clip, whose "
                    "pictures wait in memory",
                    fix=f"use {MOST_S:g}s at most, or leave out {option('--event-clips')}",
                )
    rolls = {rule.name: roll for rule in rules}
    if not isinstance(sink, Mp4Sink):
        return EventClips(folder, rolls, source)
    clips = EventClips(folder, rolls)
    sink.tap = clips.tap
    return clips


class EventClips:
    """Clips of the events of one source. One thread at a time uses it.

    Give it to a recording (`recording.tap = clips.tap`), which then writes each picture before the
    clips do; without a recording it encodes the pictures itself.

    Args:
        folder: where they go; released in the end.
        rolls: for each rule, by name, what its clips show before and after.
        source: gives rate and clock to an encoder of its own; None where a recording has one.

    Attributes:
        tap: to be given every encoded picture.
        warnings, path: as sinks have them; `path` is None while no clip was written.
    """

    def __init__(
        self, folder: ClipFolder, rolls: Mapping[str, Roll], source: SourceInfo | None = None
    ) -> None:
        self.warnings = folder.warnings
        self.tap = PacketTap(self._tell)
        self._folder = folder
        self._source = source
        self._encoder = None if source is None else PictureEncoder(source, self.tap)
        self._cutter = Cutter(folder, rolls, self.warnings)
        self._waiting: queue.Queue[_Told] = queue.Queue(_MOST_WAITING)
        self._failed: BaseException | None = None
        self._closed = False
        self._last_s: float | None = None
        self._thread = threading.Thread(target=self._work, name="roadseg-clips", daemon=True)
        self._thread.start()

    @property
    def path(self) -> Path | None:
        """The folder, once there is a clip in it."""
        return self._folder.path if self._cutter.written else None

    def write(self, frame: Frame, picture: Picture, cues: Cues) -> None:
        """The next frame, after the recording, if there is one, has got it.

        Args:
            frame: the frame.
            picture: as rendered; copied where it may become a snapshot.
            cues: what it means.

        Raises:
            SinkError: the encoder refuses the picture.
        """
        if self._source is not None and self._last_s is not None and frame.time_s < self._last_s:
            self._begin_anew(self._source)
        self._last_s = frame.time_s
        if self._encoder is not None:
            self._encoder.write(picture, frame)
        peak = as_bgr(picture).copy() if any(moment.is_peak for moment in cues.moments) else None
        self._tell((frame.time_s, cues, peak))

    def close(self, *, ok: bool) -> None:
        """Finish the clips with what there is, after the recording was closed; a second call does
        nothing.

        Args:
            ok: nothing depends on it: what was seen stays.
        """
        del ok
        if self._closed:
            return
        self._closed = True
        try:
            if self._encoder is not None:
                self._encoder.close()
                self.warnings += self._encoder.warnings
        finally:
            self._tell(None)
            self._thread.join()
            self._folder.release()
        if self._failed is not None:
            raise self._failed

    def _begin_anew(self, source: SourceInfo) -> None:
        """The source has begun again: another recording of it, for the clips."""
        assert self._encoder is not None
        self._encoder.close()
        self._tell(_AGAIN)
        self.tap = PacketTap(self._tell)
        self._encoder = PictureEncoder(source, self.tap)

    def _tell(self, what: _Told) -> None:
        while self._failed is None:
            try:
                self._waiting.put(what, timeout=0.2)
            except queue.Full:
                continue
            return

    def _work(self) -> None:
        try:
            while (told := self._waiting.get()) is not None:
                if isinstance(told, EncodedPicture):
                    self._cutter.picture(told)
                elif told == _AGAIN:
                    self._cutter.finish()
                else:
                    self._cutter.frame(*told)
            self._cutter.finish()
        except BaseException as exc:  # noqa: BLE001  (`close` raises it)
            self._failed = exc
