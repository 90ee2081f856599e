"""Whether a run keeps up with its source, and what is done where it does not."""

from __future__ import annotations

import logging
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from roadseg.core.size import SizeHW
from roadseg.video.meters import Clock

if TYPE_CHECKING:
    from roadseg.media.sources.base import SourceInfo

_log = logging.getLogger(__name__)

_PERIOD_S = 2.0
_IN_A_ROW = 3

# Of a camera's frames so many may be dropped, and a film so much too slow, before it is noticed.
_DROPPED = 0.1
_TOO_SLOW = 0.95

# A network that waits for frames for this share of its time could take more of them.
_IDLE = 0.1


@runtime_checkable
class AdaptiveSegmenter(Protocol):
    """A network that may be exchanged for a faster one; see `roadseg.Segmenter`, which is one."""

    def fit(
        self,
        source_hw: SizeHW,
        rate: Fraction | float | None,
        *,
        waits: bool,
        every: int | None,
        planar: bool,
    ) -> int:
        """Choose how the network runs for a source, and which, where that is not chosen yet.

        Returns:
            It is to see every so many frames: `every`, or its own choice for None.
        """
        ...

    def step_down(self) -> str | None:
        """Go on with a faster network, and say which; None: with the same as before."""
        ...

    def how_chosen(self) -> dict[str, object] | None:
        """How the network was chosen, as plain values; None where it was asked for."""
        ...


class KeepingUp:
    """Watches a run, period by period, and steps down after three in a row that were too slow.

    Of a live source it is too slow to drop frames; of a film, to show it slower than it is; of
    several live sources, to be busy all the time and yet serve fewer frames than were counted on.

    Args:
        segmenter: the network.
        rate: frames a second of a film, or of several sources together; None for one live source,
            which counts its drops.
        clock: seconds.
    """

    def __init__(
        self, segmenter: AdaptiveSegmenter, rate: Fraction | float | None, clock: Clock
    ) -> None:
        self._segmenter = segmenter
        self._rate = None if rate is None else float(rate)
        self._clock = clock
        self._since_s: float | None = None
        self._frames = 0
        self._dropped = 0
        self._slow = 0
        self._idle_s = 0.0

    def after_frame(self, dropped: int = 0, *, frames: int = 1, idle_s: float = 0.0) -> None:
        """A frame has been segmented; no other is in flight on a live source.

        Args:
            dropped: frames dropped so far, of one live source.
            frames: how many there are, if several went through together.
            idle_s: how long the network waited before for something to do, in seconds.
        """
        now_s = self._clock()
        if self._since_s is None:
            self._begin(now_s, dropped)
            return
        self._frames += frames
        self._idle_s += idle_s
        if now_s - self._since_s < _PERIOD_S:
            return
        self._slow = self._slow + 1 if self._too_slow(now_s - self._since_s, dropped) else 0
        self._begin(now_s, dropped)
        if self._slow >= _IN_A_ROW:
            self._slow = 0
            # The next frame waits for the other network, which says nothing about its speed.
            self._since_s = None
            instead = self._segmenter.step_down()
            if instead is not None:
                _log.info("the run falls behind its source: %s from here on", instead)

    def _begin(self, now_s: float, dropped: int) -> None:
        self._since_s, self._frames, self._dropped, self._idle_s = now_s, 0, dropped, 0.0

    def _too_slow(self, elapsed_s: float, dropped: int) -> bool:
        if self._rate is not None:
            # What waits for frames is not slow: its sources are.
            busy = self._idle_s < _IDLE * elapsed_s
            return busy and self._frames < _TOO_SLOW * self._rate * elapsed_s
        lost = dropped - self._dropped
        return lost > _DROPPED * (lost + self._frames)


def watch_pace(
    segmenter: object, info: SourceInfo, clock: Clock, *, looked_at: bool
) -> KeepingUp | None:
    """Watches live sources, and files that are only looked at; None for what may take its time.

    Args:
        segmenter: the network; None comes back for one that cannot be exchanged.
        info: of the source.
        clock: seconds.
        looked_at: a window shows the source, and nothing is written.
    """
    if not isinstance(segmenter, AdaptiveSegmenter):
        return None
    if info.kind == "live":
        return KeepingUp(segmenter, None, clock)
    if info.kind == "file" and looked_at and info.rate:
        return KeepingUp(segmenter, info.rate, clock)
    return None


def how_chosen(segmenter: object) -> dict[str, object] | None:
    """How a network was chosen, for statistics; None where it was asked for."""
    return segmenter.how_chosen() if isinstance(segmenter, AdaptiveSegmenter) else None
