"""The steps between the network and the picture: what is read from each frame."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from roadseg.core.geometry import LabelMap
from roadseg.core.labels import ClassSet
from roadseg.core.size import SizeHW
from roadseg.core.types import Frame
from roadseg.render import HudLine
from roadseg.video.reading.left_out import LeftOut
from roadseg.video.reading.options import ReadingOptions
from roadseg.video.reading.readouts import Means, Reading, Readouts, hud_lines
from roadseg.video.reading.scene import Scene

__all__ = ["Read", "Reader"]

_log = logging.getLogger(__name__)

_ANY_HW = (480, 640)


@dataclass(frozen=True, slots=True)
class Read:
    """A frame as it goes on to the picture.

    Attributes:
        frame: the frame.
        label_map: its labels.
        reading: what was read from it; None without read-outs.
        left_out: what of it is neither coloured nor counted; None for nothing.
    """

    frame: Frame
    label_map: LabelMap
    reading: Reading | None = None
    left_out: LeftOut | None = None


class Reader:
    """Takes every frame with its labels, and says what the road says. One thread uses it.

    Args:
        options: what is asked for.
        classes: of the labels.
        picture_hw: of the source; None where only its first frame tells.

    Raises:
        UsageError: an option is wrong, or the model lacks a class that it needs.
    """

    def __init__(
        self, options: ReadingOptions, classes: ClassSet, picture_hw: SizeHW | None = None
    ) -> None:
        self._options, self._classes = options, classes
        self._parts: _Parts | None = None
        if picture_hw is None:
            # What depends on rows and pixels is checked with the first frame.
            known = replace(options, horizon=None, corridor=None)
            self.names = _Parts(known, classes, _ANY_HW).scene.names
        else:
            self._parts = _Parts(options, classes, picture_hw)
            self.names = self._parts.scene.names
        self._means = Means(self.names) if options.wants_readouts else None

    def push(self, frame: Frame, label_map: LabelMap) -> list[Read]:
        """The next frame of the network; the frames that are ready now."""
        if self._parts is None:
            self._parts = _Parts(self._options, self._classes, frame.size_hw)
        readouts, reading = self._parts.readouts, None
        if readouts is not None and self._means is not None:
            reading = readouts.read(frame.time_s, label_map.network_ids)
            self._means.add(reading)
        return [Read(frame, label_map, reading, self._parts.left_out(frame.size_hw))]

    def hud_lines(self, reading: Reading) -> tuple[HudLine, ...]:
        """What the head-up display shows of a frame."""
        readouts = None if self._parts is None else self._parts.readouts
        return hud_lines(reading, readouts.things if readouts else ())

    def to_json(self) -> dict[str, object] | None:
        """What `--stats-json` has of it; None for nothing."""
        return None if self._means is None else self._means.to_json()


class _Parts:
    """What is made once the size of the pictures is known."""

    def __init__(self, options: ReadingOptions, classes: ClassSet, picture_hw: SizeHW) -> None:
        self.scene = Scene.of(options, classes, picture_hw)
        self.readouts = Readouts(self.scene) if options.wants_readouts else None
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
