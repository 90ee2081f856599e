"""What a frame means for the clips of events."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moment:
    """A rule that holds in a frame, or held a moment ago.

    Attributes:
        rule: name of the event.
        start_s, held_s: times of the first and of the last frame in which it held.
        is_peak: none of the frames since then was more extreme.
        clip: name of the event's files without suffix; None until it has held for long enough.
    """

    rule: str
    start_s: float
    held_s: float
    is_peak: bool
    clip: str | None = None


@dataclass(frozen=True, slots=True)
class ClipEnd:
    """An event that has ended.

    Attributes:
        clip: as in `Moment`.
        end_s: time of the last frame in which the rule held.
    """

    clip: str
    end_s: float


@dataclass(frozen=True, slots=True)
class Cues:
    """What a frame means for clips.

    Attributes:
        moments: rules that hold.
        ended: events that are over.
    """

    moments: tuple[Moment, ...] = ()
    ended: tuple[ClipEnd, ...] = ()
