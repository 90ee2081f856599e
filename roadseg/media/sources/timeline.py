"""Raw timestamps, as sources give them, to the times at which a viewer sees the pictures.

Clocks of recordings are often wrong: clips are joined, and the clock steps back; a camera sets
its clock after it has started, and it leaps ahead; a stamp is damaged, repeated or missing. A
picture's time is believed when it fits its neighbours and the stream's rate. Otherwise it continues
from them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from statistics import median_low

WALL_TIME_BASE = Fraction(1, 90_000)
"""Seconds per tick for sources that have no usable timestamps of their own."""

# A gap of up to so much needs no second look, whatever the rate: pictures that were lost on the
# way, or a recorder that writes a picture only when something moves.
_PLAIN_GAP_S = 0.5

# A longer one is believed up to here if the clock stays there. FFmpeg draws the line at the same
# place (dts_delta_threshold).
_LONGEST_GAP_S = 10.0

# In gaps between pictures, how much longer than usual still fits the stream's rate.
_USUAL_GAPS = 4

# A gap this many times as long as usual is a jump where a stamp has strayed before.
_UNSTEADY = 1.2

# Pictures between which a stray one is put have at least this part of the usual gap.
_LEAST_SHARE = 4

_GAPS_KEPT = 9
_GAPS_NEEDED = 3


class Timeline:
    """Maps timestamps in ticks to ticks since the origin, strictly increasing.

    Args:
        step: ticks between frames, nominally; need not be whole.
        ticks_per_s: ticks in a second.
        origin: stamp of time 0; the first stamp seen when None.

    Attributes:
        mended: pictures whose stamp was there and not believed.
    """

    def __init__(self, step: float, ticks_per_s: float, origin: int | None = None) -> None:
        self.mended = 0
        self._step = max(step, 1.0)
        self._plain = round(_PLAIN_GAP_S * ticks_per_s)
        self._longest = round(_LONGEST_GAP_S * ticks_per_s)
        self._origin = origin
        # The origin before the clock jumped: it may come back.
        self._before: int | None = None
        self._last: int | None = None
        # What rounding took from pictures that follow at the usual pace: they must not drift.
        self._rest = 0.0
        self._duration = 0
        self._gaps: deque[int] = deque(maxlen=_GAPS_KEPT)

    @property
    def step(self) -> float:
        """Ticks that a picture usually stands: nominal, or the median of the last gaps where that
        is something else."""
        if len(self._gaps) < _GAPS_NEEDED:
            return self._step
        usual = median_low(self._gaps)
        return self._step if abs(usual - self._step) <= 1 else usual

    def restart(self) -> None:
        """The next stamp is one step after the last one, whatever it says: a loop begins anew."""
        self._origin = self._before = None

    def begins_astray(self, stamps: Sequence[int | None]) -> bool:
        """Whether the first stamp of a stream is a stray one: those behind it follow each other,
        and no pause lies between it and them. Of less than three stamps nothing can be told."""
        if len(stamps) < 3:
            return False
        first, second, third = stamps[:3]
        if first is None or second is None or third is None:
            return False
        pause = max(self._longest, self._plain_gap())
        return not 0 < second - first <= pause and 0 < third - second <= self._plain_gap()

    def fits(self, stamp: int | None) -> bool:
        """Whether `ticks` believes a stamp without a look at those behind it."""
        if stamp is None or self._last is None or self._origin is None:
            return True
        return 0 < stamp - self._origin - self._last <= self._plain_gap()

    def ticks(
        self,
        stamp: int | None,
        following: Sequence[int | None] = (),
        *,
        duration: int = 0,
        longest: int | None = None,
    ) -> int:
        """Ticks since the origin for the next picture.

        Args:
            stamp: its timestamp; None where there is none.
            following: stamps of the pictures behind it, as many as are known; looked at only where
                `fits` says no. A stray stamp is told by them from a clock that was set.
            duration: ticks that the source says it stands; 0 if it does not say. A gap of that
                length is believed, however long.
            longest: the longest gap in front of it that is believed; a live source knows how long
                it waited.
        """
        last = self._last
        if last is None:
            if self._origin is None:
                self._origin = 0 if stamp is None else stamp
            now = 0 if stamp is None else stamp - self._origin
        else:
            now = self._after(last, stamp, following, longest)
        self._last, self._duration = now, duration
        return now

    def _after(
        self, last: int, stamp: int | None, following: Sequence[int | None], longest: int | None
    ) -> int:
        if stamp is None:
            return self._next(last)
        if self._origin is None:
            self._origin = stamp - self._next(last)
        gap = stamp - self._origin - last
        if 0 < gap <= self._plain_gap():
            self._gaps.append(gap)
            return last + gap
        if self._before is not None and 0 < stamp - self._before - last <= self._plain_gap():
            self._origin, self._before = self._before, None
            return stamp - self._origin
        returns = self._return(last, gap, following)
        if returns is not None:
            self.mended += 1
            return last + returns
        limit = max(self._longest, self._plain_gap()) if longest is None else longest
        if 0 < gap <= limit:
            return last + gap
        self.mended += 1
        self._before = self._origin
        now = self._next(last)
        self._origin = stamp - now
        return now

    def _next(self, last: int) -> int:
        """One usual step on."""
        exact = last + self._rest + self.step
        self._rest = exact - round(exact)
        return max(round(exact), last + 1)

    def _plain_gap(self) -> float:
        return max(_USUAL_GAPS * self.step, self._plain, round(1.5 * self._duration))

    def _return(self, last: int, gap: int, following: Sequence[int | None]) -> int | None:
        """The gap to this picture if the clock is back soon behind it, so that only a few stray: an
        equal share of the way there. None if the clock stays away.

        A clock that was set back a little catches up with itself, too, but at its usual pace.
        """
        origin, before, steady = self._origin or 0, gap, True
        for pictures, other in enumerate(following, 2):
            if other is None:
                continue
            there = other - origin - last
            steady = steady and 0 < there - before <= _UNSTEADY * self.step
            before = there
            if there <= 0 or (0 < gap <= there):
                continue
            share = there // pictures
            fits = self.step <= _LEAST_SHARE * share and share <= _USUAL_GAPS * self.step
            return share if fits and share > 0 and not steady else None
        return None
