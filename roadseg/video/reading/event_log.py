"""Events of a run: watched for, written as JSON lines, said, and counted."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from pathlib import Path

from roadseg.core.types import Labels
from roadseg.render import HudLine
from roadseg.road import Event, EventWatch, Rule
from roadseg.video.clips import ClipEnd, ClipFolder, Cues, Moment
from roadseg.video.reading.lines_file import LinesFile
from roadseg.video.reading.scene import Scene

_log = logging.getLogger(__name__)

_LONGEST = 16  # letters of an event's name, as many as `pedestrian >99 m` has


class EventLog:
    """Watches for events; each is a line of the file, and of the log, when it ends.

    Args:
        rules: see `roadseg.road.events.grammar`.
        scene: what they are about.
        path: `.jsonl` in a folder that exists; None for no file.
        clips: names the clips of the events; None without clips.

    Attributes:
        counts: how many of each have begun, by name.
        going_on: names of those that go on, in the order of the rules.
        cues: what the latest frame means for clips.

    Raises:
        UsageError: a rule is wrong; the message has the column.
    """

    def __init__(
        self,
        rules: tuple[str, ...],
        scene: Scene,
        path: Path | None = None,
        clips: ClipFolder | None = None,
    ) -> None:
        self._watch = EventWatch(
            rules,
            scene.words,
            [scene.corridor],
            scene.ignore,
            scene.camera,
            check_metres=scene.is_sized,
        )
        self._file = None if path is None else LinesFile(path)
        self.counts = {rule.name: 0 for rule in self._watch.rules}
        self.going_on: tuple[str, ...] = ()
        self.cues: Cues | None = None
        self._clips = clips
        self._clip_names: dict[str, str] = {}

    def update(self, time_s: float, network_ids: Labels) -> tuple[str, ...]:
        """The next frame; names of the events that go on.

        Raises:
            SinkError: the file cannot be written; the events before are in it.
        """
        ended = self._take(self._watch.update(time_s, network_ids))
        if self._clips is not None:
            self.cues = Cues(tuple(self._moments(time_s)), tuple(ended))
        return self.going_on

    def close(self, *, ok: bool) -> None:
        """End the events that still go on, and finish the file; a second call does nothing.

        Args:
            ok: leave a file, an empty one where nothing happened.

        Raises:
            SinkError: it cannot be written.
        """
        try:
            self._take(self._watch.finish())
        finally:
            if self._file is not None:
                self._file.close(ok=ok)

    @property
    def rules(self) -> tuple[Rule, ...]:
        """As read."""
        return self._watch.rules

    def hud_line(self) -> HudLine:
        """What the head-up display shows: what goes on now, in a line that keeps its width."""
        names = [_short(name) for name in self.counts]
        widest = max(names, key=len) + (f" +{len(names) - 1}" if len(names) > 1 else "")
        shown = [_short(name) for name in self.going_on]
        more = f" +{len(shown) - 1}" if len(shown) > 1 else ""
        return HudLine("event", f"{shown[0]}{more}" if shown else "none", "event", widest)

    def _moments(self, time_s: float) -> Iterator[Moment]:
        for event, held_s in self._watch.held():
            name = event.rule.name
            is_peak = event.peak_s == time_s
            yield Moment(name, event.start_s, held_s, is_peak, self._clip_names.get(name))

    def _take(self, changes: list[Event]) -> list[ClipEnd]:
        """Note what has begun and ended; the clips that are over."""
        if not changes:
            return []
        names = set(self.going_on)
        ended = []
        for event in changes:
            name = event.rule.name
            if event.end_s is None:
                self.counts[name] += 1
                names.add(name)
                if self._clips is not None:
                    self._clip_names[name] = self._clips.name(name)
            else:
                names.discard(name)
                clip = self._clip_names.pop(name, None)
                if clip is not None:
                    ended.append(ClipEnd(clip, event.end_s))
                self._tell(event, event.end_s, clip)
        self.going_on = tuple(name for name in self.counts if name in names)
        return ended

    def _tell(self, event: Event, end_s: float, clip: str | None) -> None:
        peak = event.peak if event.peak is not None and math.isfinite(event.peak) else None
        said = "" if peak is None else f", peak {peak:.4g}{_unit(event.unit)}"
        _log.info(f"event {event.rule.name}: {event.start_s:.2f} s to {end_s:.2f} s{said}")
        if self._file is None:
            return
        values: dict[str, object] = {
            "name": event.rule.name,
            "rule": event.rule.text,
            "start_s": round(event.start_s, 6),
            "seen_s": round(event.seen_s, 6),
            "end_s": round(end_s, 6),
            "peak_s": round(event.peak_s, 6),
            "peak": None if peak is None else round(peak, 6),
            "unit": event.unit,
        }
        if self._clips is not None and clip is not None:
            values["clip"] = str(self._clips.clip(clip))
            values["snapshot"] = str(self._clips.snapshot(clip))
        self._file.append(json.dumps(values, ensure_ascii=False) + "\n")


def _short(name: str) -> str:
    """As much of a name as the display has room for."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 2]}.."


def _unit(unit: str) -> str:
    return unit if unit in ("", "%") else f" {unit}"
