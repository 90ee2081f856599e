"""A frame between the network and the picture."""

from __future__ import annotations

from dataclasses import dataclass

from roadseg.core.geometry import LabelMap
from roadseg.core.types import Frame, Labels
from roadseg.render import Guides
from roadseg.road.doubt import Scores
from roadseg.video.clips import Cues
from roadseg.video.reading.doubts import DoubtReading
from roadseg.video.reading.left_out import LeftOut
from roadseg.video.reading.readouts import Reading


@dataclass(frozen=True, slots=True)
class Read:
    """A frame as it goes on to the picture.

    Attributes:
        frame: the frame.
        label_map: its labels.
        reading: what was read from it; None without read-outs.
        events: names of the events that go on.
        cues: what it means for the clips of events; None without clips.
        doubt: how sure the network is; None where it is not asked.
        scores: behind the labels, until doubt was read from them; None without doubt.
        left_out: what of it is neither coloured nor counted; None for nothing.
    """

    frame: Frame
    label_map: LabelMap
    reading: Reading | None = None
    events: tuple[str, ...] = ()
    cues: Cues | None = None
    left_out: LeftOut | None = None
    doubt: DoubtReading | None = None
    scores: Scores | None = None

    @property
    def segmented(self) -> tuple[Frame, LabelMap, Scores | None]:
        """What the network has made: the frame, its labels, and the scores behind them."""
        return self.frame, self.label_map, self.scores

    @property
    def shares(self) -> tuple[float, ...]:
        """Of the classes and the user's groups, 0 to 1; empty without read-outs."""
        return () if self.reading is None else self.reading.shares

    @property
    def guides(self) -> Guides | None:
        """Lines over the picture; None without read-outs."""
        return None if self.reading is None else self.reading.guides

    @property
    def ids(self) -> Labels:
        """(H, W) uint8 labels at the size of the frame, void where it is left out."""
        ids = self.label_map.ids
        return ids if self.left_out is None else self.left_out.applied(ids)
