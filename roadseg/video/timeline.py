"""Raw timestamps, as files give them, to a clock that only moves forward."""

from __future__ import annotations

from fractions import Fraction

__all__ = ["WALL_TIME_BASE", "Timeline"]

WALL_TIME_BASE = Fraction(1, 90_000)
"""Seconds per tick for sources that have no usable timestamps of their own."""

_RESTART_BACK_S = 2.0
_RESTART_AHEAD_S = 3600.0


class Timeline:
    """Maps timestamps in ticks to ticks since the origin, strictly increasing.

    Repeated or slightly early stamps move to one tick after their predecessor, missing ones
    to one step after it. A clock that falls back by more than two seconds (recordings glued
    together) or leaps ahead by more than an hour (a damaged stamp) is taken to have been
    reset there: it goes on one step after the last stamp.

    Args:
        step: ticks between frames, nominally.
        ticks_per_s: ticks in a second.
        origin: stamp of time 0; the first stamp seen when None.
    """

    def __init__(self, step: int, ticks_per_s: float, origin: int | None = None) -> None:
        self._step = max(step, 1)
        self._back = int(_RESTART_BACK_S * ticks_per_s)
        self._ahead = int(_RESTART_AHEAD_S * ticks_per_s)
        self._origin = origin
        self._last: int | None = None

    def restart(self) -> None:
        """The next stamp is one step after the last one, whatever it says: a loop begins anew."""
        self._origin = None

    def ticks(self, stamp: int | None) -> int:
        """Ticks since the origin for the next frame, whose timestamp is `stamp`."""
        last = self._last
        if last is None:
            if self._origin is None:
                self._origin = 0 if stamp is None else stamp
            now = 0 if stamp is None else stamp - self._origin
        else:
            now = self._after(last, stamp)
        self._last = now
        return now

    def _after(self, last: int, stamp: int | None) -> int:
        following = last + self._step
        if stamp is None:
            return following
        if self._origin is None:
            self._origin = stamp - following
        now = stamp - self._origin
        if last - now > self._back or now - last > self._ahead:
            self._origin = stamp - following
            return following
        return max(now, last + 1)
