"""The steps between the network and the picture: what is read from each frame."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from roadseg.core.geometry import Geometry, LabelMap, preprocess
from roadseg.core.labels import ClassSet
from roadseg.core.size import SizeHW
from roadseg.core.types import Frame, Labels
from roadseg.render import HudLine
from roadseg.road import PrivacyMask, Steady, Trust, hide
from roadseg.road.doubt import Scores
from roadseg.road.ignore_source import has_polygons
from roadseg.video.clips import ClipFolder
from roadseg.video.reading.doubts import DoubtReading, Doubts
from roadseg.video.reading.event_log import EventLog
from roadseg.video.reading.left_out import LeftOut
from roadseg.video.reading.options import ReadingOptions
from roadseg.video.reading.read import Read
from roadseg.video.reading.readouts import Means, Readouts, hud_lines
from roadseg.video.reading.scene import Scene

_log = logging.getLogger(__name__)


_Waiting: TypeAlias = tuple[Frame, Geometry, "DoubtReading | None"]


class Reader:
    """Takes every frame with its labels, and says what the road says. One thread uses it.

    Args:
        options: what is asked for.
        classes: of the labels.
        picture_hw: of the source; None where only its first frame tells.
        clips: names the clips of events; None without clips.

    Attributes:
        names: of classes and the user's groups, as `Reading.shares` has them.
        hidden: of classes and groups that are hidden in the pictures.
        rules: of the events, as read.

    Raises:
        UsageError: an option is wrong, or the model lacks a class that it needs.
    """

    def __init__(
        self,
        options: ReadingOptions,
        classes: ClassSet,
        picture_hw: SizeHW | None = None,
        clips: ClipFolder | None = None,
    ) -> None:
        self._options, self._classes, self._clips = options, classes, clips
        self._parts: _Parts | None = None
        self._begun = False
        self._waiting: _Waiting | None = None
        self._doubts: Doubts | None = None
        if options.wants_doubt:
            limit = options.doubt_limit
            trust = Trust() if limit is None else Trust(most_entropy=limit)
            self._doubts = Doubts(
                trust, with_pixels=options.doubt_view, temperature=options.temperature
            )
        if picture_hw is None:
            # What depends on rows and pixels is checked with the first frame.
            mask = options.ignore_mask
            mask = None if mask is not None and has_polygons(mask) else mask
            known = replace(options, horizon=None, corridor=None, ignore_mask=mask)
            parts = _Parts(known, classes, None, clips)
        else:
            parts = self._parts = _Parts(options, classes, picture_hw, clips)
        self.names = parts.scene.names
        self.hidden = options.blur
        self.rules = () if parts.events is None else parts.events.rules
        self._means = Means(self.names) if options.wants_readouts else None

    def push(self, frame: Frame, label_map: LabelMap, scores: Scores | None = None) -> list[Read]:
        """The next frame of the network; the frames that are ready now.

        With `smooth` that is the one before; `flush` gives the last one.

        Args:
            frame: as the source gave it.
            label_map: its labels.
            scores: (classes, h, w) float32 behind the labels, for doubt; None where nothing asks.

        Raises:
            UsageError: what depends on the size of the pictures is wrong.
        """
        if self._parts is None:
            self._parts = _Parts(self._options, self._classes, frame.size_hw, self._clips)
        seen = frame
        if self._parts.privacy is not None:
            # From the labels as the network gives them: steadying them may take a person away.
            frame = self._hidden(self._parts.privacy, frame, label_map)
        doubt = None
        if self._doubts is not None and scores is not None:
            doubt = self._doubts.read(scores, label_map.network_ids)
        steady = self._parts.steady
        if steady is None:
            return [self._read(frame, label_map, doubt)]
        network_bgr, _ = preprocess(seen.picture, label_map.geometry.network_hw)
        ids = steady.push(network_bgr, label_map.network_ids)
        before, self._waiting = self._waiting, (frame, label_map.geometry, doubt)
        return self._steadied(before, ids)

    def flush(self) -> list[Read]:
        """What still waits for a next frame, after the last one."""
        before, self._waiting = self._waiting, None
        if self._parts is None or self._parts.steady is None:
            return []
        return self._steadied(before, self._parts.steady.flush())

    def _hidden(self, privacy: PrivacyMask, frame: Frame, label_map: LabelMap) -> Frame:
        mask = privacy.update(frame.time_s, label_map.network_ids)
        if not mask.any():
            return frame
        # A copy: the source, or the network's next input, may still need the picture.
        return replace(frame, picture=hide(frame.image_bgr.copy(), mask, self._options.blur_style))

    def _steadied(self, waiting: _Waiting | None, ids: Labels | None) -> list[Read]:
        if waiting is None or ids is None:
            return []
        frame, geometry, doubt = waiting
        return [self._read(frame, LabelMap(ids, geometry), doubt)]

    def _read(self, frame: Frame, label_map: LabelMap, doubt: DoubtReading | None) -> Read:
        assert self._parts is not None
        self._begun = True
        readouts, reading = self._parts.readouts, None
        if readouts is not None and self._means is not None:
            reading = readouts.read(frame.time_s, label_map.network_ids)
            self._means.add(reading)
        events = self._parts.events
        ids = label_map.network_ids
        going_on = () if events is None else events.update(frame.time_s, ids)
        cues = None if events is None else events.cues
        left_out = self._parts.left_out(frame.size_hw)
        return Read(frame, label_map, reading, going_on, cues, left_out, doubt)

    def close(self) -> list[Path]:
        """End the events that go on, after the last frame; a second call does nothing.

        Returns:
            The files that were written.

        Raises:
            SinkError: the file of events cannot be written.
        """
        events = None if self._parts is None else self._parts.events
        if events is None:
            return []
        events.close(ok=self._begun)
        path = self._options.events
        return [path] if path is not None and self._begun else []

    def hud_lines(self, read: Read) -> tuple[HudLine, ...]:
        """What the head-up display shows of a frame."""
        parts, lines = self._parts, list[HudLine]()
        if parts is not None and parts.readouts is not None and read.reading is not None:
            lines += hud_lines(read.reading, parts.readouts.things)
        if parts is not None and parts.events is not None:
            lines.append(parts.events.hud_line())
        if read.doubt is not None:
            lines.append(read.doubt.hud_line())
        return tuple(lines)

    def to_json(self) -> dict[str, object] | None:
        """What `--stats-json` has of it; None for nothing."""
        values = {} if self._means is None else self._means.to_json()
        if self._doubts is not None:
            values.update(self._doubts.to_json())
        if self.hidden:
            values["hidden"] = list(self.hidden)
        if self._options.rules:
            events = None if self._parts is None else self._parts.events
            values["events"] = {} if events is None else dict(events.counts)
        return values or None


class _Parts:
    """What is made once the size of the pictures is known."""

    def __init__(
        self,
        options: ReadingOptions,
        classes: ClassSet,
        picture_hw: SizeHW | None,
        clips: ClipFolder | None,
    ) -> None:
        self.scene = Scene.of(options, classes, picture_hw)
        self.readouts = Readouts(self.scene) if options.wants_readouts else None
        words = self.scene.words
        self.events = (
            EventLog(options.rules, self.scene, options.events, clips) if options.rules else None
        )
        self.privacy = PrivacyMask(list(options.blur), words) if options.blur else None
        self.steady = Steady(words) if options.smooth else None
        self._left_out: dict[SizeHW, LeftOut] = {}

    def left_out(self, picture_hw: SizeHW) -> LeftOut | None:
        """What is left out of pictures of this size."""
        ignore = self.scene.ignore
        if ignore is None:
            return None
        if picture_hw not in self._left_out:
            note = ignore.note(picture_hw)
            if note is not None:
                _log.info(note)
            counts = ignore.counts(picture_hw)
            self._left_out[picture_hw] = LeftOut.of(counts, self.scene.words.classes.num_classes)
        return self._left_out[picture_hw]
