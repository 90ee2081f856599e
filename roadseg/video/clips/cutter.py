"""Decides what of a stream of encoded pictures goes into which clip, and writes it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2

from roadseg.core.errors import SinkError
from roadseg.core.files import write_bytes
from roadseg.core.types import Image
from roadseg.media.sinks.clips import ClipFile, EncodedPicture, RecentPictures
from roadseg.video.clips.cues import Cues, Moment
from roadseg.video.clips.folder import ClipFolder
from roadseg.video.clips.roll import Roll

_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 90]
# Times of pictures are rounded to ticks; those of the coarsest clock of cameras are longer.
_A_TICK_S = 1e-4
_FIX = "free the space that it needs; the run goes on"


@dataclass
class _Snapshot:
    """The most extreme picture of a rule since it began to hold."""

    start_s: float
    picture: Image


@dataclass
class _Clip:
    """An event's clip while it grows.

    Attributes:
        until_s: what it has to show: the roll behind the last frame in which the rule held.
        is_over: whether that is certain; until then it may become later.
        waiting: pictures behind `until_s`.
        last_s: time of the last picture in the file.
    """

    rule: str
    file: ClipFile
    until_s: float
    is_over: bool = False
    waiting: deque[EncodedPicture] = field(default_factory=deque)
    last_s: float = -math.inf

    def is_next_due(self) -> bool:
        """Whether the first picture that waits belongs to the clip."""
        if self.is_over:
            return self.last_s < self.until_s - _A_TICK_S
        return self.waiting[0].time_s <= self.until_s + _A_TICK_S


class Cutter:
    """Cuts clips. One thread uses it.

    Pictures come in order, but perhaps later than the frames that they are of: encoders keep some.

    Args:
        folder: where clips go.
        rolls: by rule.
        warnings: what could not be written is appended.

    Attributes:
        written: how many clips there are.
    """

    def __init__(self, folder: ClipFolder, rolls: Mapping[str, Roll], warnings: list[str]) -> None:
        self.written = 0
        self._folder, self._rolls, self._warnings = folder, rolls, warnings
        self._recent = RecentPictures()
        self._clips: dict[str, _Clip] = {}
        self._begun: set[str] = set()
        self._snapshots: dict[str, _Snapshot] = {}
        self._longest_s = max((roll.pre_s for roll in rolls.values()), default=0.0)

    def picture(self, picture: EncodedPicture) -> None:
        """The next encoded picture."""
        self._recent.add(picture)
        for name, clip in list(self._clips.items()):
            clip.waiting.append(picture)
            self._write(name, clip)

    def frame(self, time_s: float, cues: Cues, picture: Image | None) -> None:
        """What the next frame means.

        Args:
            time_s: its time.
            cues: what it means.
            picture: where it may become a snapshot, else None.
        """
        for ended in cues.ended:
            clip = self._clips.get(ended.clip)
            if clip is not None:
                clip.until_s = ended.end_s + self._rolls[clip.rule].post_s
                clip.is_over = True
                self._save_snapshot(ended.clip, clip.rule)
                self._write(ended.clip, clip)
        for moment in cues.moments:
            self._follow(moment, picture)
        holding = {moment.rule for moment in cues.moments}
        for rule in [each for each in self._snapshots if each not in holding]:
            del self._snapshots[rule]
        # What holds, and is no event yet, may need what was before it began to.
        since_s = [moment.start_s for moment in cues.moments if moment.clip is None]
        self._recent.forget_before(min([time_s, *since_s]) - self._longest_s)

    def finish(self) -> None:
        """Finish all clips with what there is: the source has ended, or begins again."""
        for name, clip in list(self._clips.items()):
            if not clip.is_over:
                self._save_snapshot(name, clip.rule)
            self._close(name, clip)
        self._snapshots.clear()
        self._recent.clear()

    def _follow(self, moment: Moment, picture: Image | None) -> None:
        """A rule that holds: keep its peak, and begin or prolong its clip."""
        snapshot = self._snapshots.get(moment.rule)
        if picture is not None and (snapshot is None or moment.is_peak):
            self._snapshots[moment.rule] = _Snapshot(moment.start_s, picture)
        if moment.clip is None:
            return
        until_s = moment.held_s + self._rolls[moment.rule].post_s
        clip = self._clips.get(moment.clip)
        if clip is None and moment.clip not in self._begun:
            file = ClipFile(self._folder.clip(moment.clip), moment.rule, moment.start_s)
            clip = self._clips[moment.clip] = _Clip(moment.rule, file, until_s)
            self._begun.add(moment.clip)
            clip.waiting += self._recent.since(moment.start_s - self._rolls[moment.rule].pre_s)
        if clip is not None:
            clip.until_s = until_s
            self._write(moment.clip, clip)

    def _write(self, name: str, clip: _Clip) -> None:
        """Write what waits and is due; close the clip if that is all."""
        try:
            while clip.waiting and clip.is_next_due():
                picture = clip.waiting.popleft()
                clip.file.write(picture)
                clip.last_s = float(picture.time_s)
        except SinkError as exc:
            del self._clips[name]
            self._warn(exc, clip)
            return
        if clip.is_over and not clip.is_next_due():
            self._close(name, clip)

    def _close(self, name: str, clip: _Clip) -> None:
        del self._clips[name]
        try:
            self.written += clip.file.close()
        except SinkError as exc:
            self._warn(exc, clip)

    def _save_snapshot(self, name: str, rule: str) -> None:
        snapshot = self._snapshots.pop(rule, None)
        if snapshot is None:
            return
        data = cv2.imencode(".jpg", snapshot.picture, _JPEG_QUALITY)[1].tobytes()
        try:
            write_bytes(self._folder.snapshot(name), data, fix=_FIX, durable=False)
        except SinkError as exc:
            self._warnings.append(str(exc))

    def _warn(self, exc: SinkError, clip: _Clip) -> None:
        kept = f"it holds the first {clip.file.pictures} pictures" if clip.file.pictures else ""
        self.written += bool(kept)
        self._warnings.append("; ".join(filter(None, [f"{exc}", kept])))
