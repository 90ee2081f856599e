"""A frame between the network and the picture."""

from __future__ import annotations

from dataclasses import dataclass

from roadseg.core.geometry import LabelMap
from roadseg.core.types import Frame, Labels
from roadseg.video.clips import Cues
from roadseg.video.reading.left_out import LeftOut
from roadseg.video.reading.readouts import Reading

__all__ = ["Read"]


@dataclass(frozen=True, slots=True)
class Read:
    """A frame as it goes on to the picture.

    Attributes:
        frame: the frame.
        label_map: its labels.
        reading: what was read from it; None without read-outs.
        events: names of the events that go on.
        cues: what it means for the clips of events; None without clips.
        left_out: what of it is neither coloured nor counted; None for nothing.
    """

    frame: Frame
    label_map: LabelMap
    reading: Reading | None = None
    events: tuple[str, ...] = ()
    cues: Cues | None = None
    left_out: LeftOut | None = None

    @property
    def labelled(self) -> tuple[Frame, LabelMap]:
        """The frame and its labels."""
        return self.frame, self.label_map

    @property
    def ids(self) -> Labels:
        """(H, W) uint8 labels at the size of the frame, void where it is left out."""
        ids = self.label_map.ids
        return ids if self.left_out is None else self.left_out.applied(ids)
