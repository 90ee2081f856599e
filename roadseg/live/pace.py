"""How often: which frames of a source are wanted, and when a lost source is tried again."""

from __future__ import annotations

import random

from roadseg.core.types import Frame

# Times in seconds are sums of rounded steps.
_ALMOST_ONE = 1 - 1e-6


class Admission:
    """Which frames of one connection are wanted.

    Args:
        stride: every so many frames.
        max_fps: at most so many a second, by the source's own clock; None for all.
    """

    def __init__(self, stride: int = 1, max_fps: float | None = None) -> None:
        self._stride = stride
        self._max_fps = max_fps
        self._count = 0
        self._credit = 1.0
        self._time_s: float | None = None

    def __call__(self, frame: Frame) -> bool:
        """Whether this frame, the next one of the source, is wanted."""
        self._count += 1
        if (self._count - 1) % self._stride:
            return False
        if self._max_fps is None:
            return True
        if self._time_s is not None:
            # What is left over counts for the next frame: 10 of 25 a second are 10, and not 8.3.
            self._credit += (frame.time_s - self._time_s) * self._max_fps
            self._credit = min(self._credit, 2.0)
        self._time_s = frame.time_s
        if self._credit < _ALMOST_ONE:
            return False
        self._credit -= 1
        return True


class Backoff:
    """Seconds to wait before the next attempt: twice as long each time, up to a limit.

    Args:
        first_s: after the first loss.
        most_s: the limit.
        jitter: each wait is shorter by up to this share, so that cameras that a switch took
            down together do not all come back at the same moment.
        chance: gives numbers from 0 to 1.
    """

    def __init__(
        self,
        first_s: float = 1.0,
        most_s: float = 30.0,
        jitter: float = 0.3,
        chance: random.Random | None = None,
    ) -> None:
        self._first_s = first_s
        self._most_s = most_s
        self._jitter = jitter
        self._chance = chance or random.Random()
        self._next_s = first_s

    def next_s(self) -> float:
        """The next wait."""
        wait_s, self._next_s = self._next_s, min(self._next_s * 2, self._most_s)
        return wait_s * (1 - self._jitter * self._chance.random())

    def reset(self) -> None:
        """The source has held: begin with the shortest wait again."""
        self._next_s = self._first_s
