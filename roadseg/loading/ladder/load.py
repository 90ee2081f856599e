"""Times of this program as if no other wanted the processor."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from roadseg.core.processor import cpu_quota


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time.

    Attributes:
        wall_s: by the clock.
        cpu_s: processor time of all threads of this process.
        waited_s: for which they waited for the processor, all together; 0 where nobody counts it.
    """

    wall_s: float
    cpu_s: float
    waited_s: float

    @property
    def free_s(self) -> float:
        """How long it would have been on a free machine.

        Threads that wait for each other are as late as those that others keep from the processor:
        the clock's time is divided as theirs is. More than the waiting itself is never taken off,
        as of a network on a GPU, for which the processor has little to do.

        >>> Span(wall_s=0.066, cpu_s=0.082, waited_s=0.049).free_s
        0.0413...
        >>> Span(wall_s=0.010, cpu_s=0.001, waited_s=0.001).free_s
        0.009
        """
        if self.waited_s <= 0:
            return self.wall_s
        divided_s = self.wall_s * self.cpu_s / (self.cpu_s + self.waited_s)
        return max(divided_s, self.wall_s - self.waited_s)


def waited_s(tasks: Path = Path("/proc/self/task")) -> float | None:
    """Seconds for which threads of this process could have run and others had the processor.

    Under a quota nobody knows: being held back counts as waiting, too, and is no other load.

    It counts from the start of each thread that is there now; only differences say something.

    Args:
        tasks: where Linux describes the threads. The second figure of `schedstat` is their waiting
            time in nanoseconds.

    Returns:
        None where the system does not say, and under a quota.
    """
    if cpu_quota() is not None:
        return None
    waited_ns = 0
    found = False
    try:
        for stat in tasks.glob("*/schedstat"):
            try:
                waited_ns += int(stat.read_text().split()[1])
            except FileNotFoundError:  # a thread that has ended meanwhile
                continue
            found = True
    except (OSError, ValueError, IndexError):
        return None
    return waited_ns / 1e9 if found else None


@dataclass(frozen=True, slots=True)
class Clocks:
    """What times are taken with, in seconds: the clock, processor time, and the waiting."""

    wall: Callable[[], float] = time.perf_counter
    cpu: Callable[[], float] = time.process_time
    waited: Callable[[], float | None] = waited_s

    def now(self) -> Span:
        """The present; the difference of two is a span."""
        return Span(self.wall(), self.cpu(), self.waited() or 0.0)

    def since(self, start: Span) -> Span:
        """The span from `start` to now; without waiting where the system stopped saying."""
        now = self.now()
        waited_s = max(now.waited_s - start.waited_s, 0.0)
        return Span(now.wall_s - start.wall_s, now.cpu_s - start.cpu_s, waited_s)


CLOCKS = Clocks()
"""Those of this process."""
