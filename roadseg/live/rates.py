"""What a live run measures: rates, ages and where every frame went.

Rates are counts over spans. The mean of the gaps between frames would call a camera that sends 12
frames at once and then pauses 450 ms either very fast or very slow, depending on where one looks.

Each meter is written by one thread; any thread may read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

DropCause = Literal["late", "replaced", "damaged", "paused", "skipped", "stopped"]
"""Why a frame that was read is not shown.

`late`: older than the staleness allows. `replaced`: a newer one came before the network was free.
`damaged`: the source could not decode it. `paused`: the person who watches has stopped the source.
`skipped`: the stride or the highest rate that was asked for passes over it. `stopped`: the run
ended, or failed, before it was its turn.
"""

DROP_CAUSES: tuple[DropCause, ...] = get_args(DropCause)


class Rate:
    """How many a second, over the last `span_s`.

    Args:
        clock: seconds, monotonic.
        span_s: the span; shorter in the beginning.
        bins: into which it is divided; the oldest is forgotten as a whole.
    """

    def __init__(self, clock: Callable[[], float], span_s: float = 5.0, bins: int = 50) -> None:
        self.total = 0
        self._clock = clock
        self._width_s = span_s / bins
        self._counts = [0] * bins
        self._epochs = [-1] * bins
        self._started_s = clock()

    def restart(self) -> None:
        """Begin a new span: what was counted belongs to an earlier connection."""
        self._epochs = [-1] * len(self._epochs)
        self._started_s = self._clock()

    def count(self, number: int = 1) -> None:
        """So many have come."""
        epoch = math.floor(self._clock() / self._width_s)
        slot = epoch % len(self._counts)
        if self._epochs[slot] != epoch:
            self._counts[slot] = 0
            self._epochs[slot] = epoch
        self._counts[slot] += number
        self.total += number

    def per_s(self) -> float:
        """0 where nothing came in the whole span."""
        now_s = self._clock()
        epoch = math.floor(now_s / self._width_s)
        oldest = epoch - len(self._counts) + 1
        begun_s = max(oldest * self._width_s, self._started_s)
        # Less than a bin says nothing: one frame after a millisecond is not 1000 a second.
        elapsed_s = max(now_s - begun_s, self._width_s)
        pairs = zip(self._counts, self._epochs, strict=True)
        return sum(count for count, when in pairs if when >= oldest) / elapsed_s


@dataclass(frozen=True, slots=True)
class AgeSummary:
    """Ages in seconds, None without a value."""

    p50: float | None
    p95: float | None
    p99: float | None
    newest: float | None


class Ages:
    """Percentiles of what happened in the last `window_s`, of at most `capacity` values."""

    def __init__(
        self, clock: Callable[[], float], window_s: float = 10.0, capacity: int = 1024
    ) -> None:
        self._clock = clock
        self._window_s = window_s
        self._times_s = np.full(capacity, -np.inf)
        self._ages_s = np.zeros(capacity)
        self._count = 0

    def add(self, age_s: float) -> None:
        """One value, of now."""
        slot = self._count % len(self._ages_s)
        self._ages_s[slot] = age_s
        self._times_s[slot] = self._clock()
        self._count += 1

    def summary(self) -> AgeSummary:
        """Of the window that ends now."""
        recent = self._ages_s[self._times_s >= self._clock() - self._window_s]
        if not recent.size:
            return AgeSummary(None, None, None, None)
        p50, p95, p99 = (float(p) for p in np.percentile(recent, (50, 95, 99)))
        return AgeSummary(p50, p95, p99, float(self._ages_s[(self._count - 1) % len(self._ages_s)]))


@dataclass
class Tally:
    """Where the frames of one source went.

    `read` = `shown` + all of `dropped` + the few that are on their way: one in the mailbox, one in
    the network, one that waits for the mailbox of a file. None are once the run has ended.

    Attributes:
        read: frames that left the source, those that it could not decode included.
        shown: frames whose labels reached the station in time.
        dropped: the others, by cause.
    """

    read: int = 0
    shown: int = 0
    dropped: dict[DropCause, int] = field(default_factory=lambda: dict.fromkeys(DROP_CAUSES, 0))

    def drop(self, cause: DropCause, number: int = 1) -> None:
        """So many frames will not be shown."""
        self.dropped[cause] += number

    @property
    def pending(self) -> int:
        """Frames that are on their way."""
        return self.read - self.shown - sum(self.dropped.values())
