"""Time as the live room sees it, so that tests can turn the clock by hand."""

from __future__ import annotations

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """A monotonic clock in seconds that threads can also wait on."""

    def __call__(self) -> float:
        """Now: the clock that stamps `Frame.captured_s`."""

    def wait_until(self, condition: threading.Condition, due_s: float | None) -> None:
        """Wait, with `condition` held, until it is notified or `due_s` has come.

        It may return early, so callers look again. None waits for the notification alone.
        """


class SystemClock:
    """`time.monotonic`."""

    def __call__(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def wait_until(self, condition: threading.Condition, due_s: float | None) -> None:
        """See `Clock.wait_until`."""
        if due_s is None:
            condition.wait()
            return
        left_s = due_s - time.monotonic()
        if left_s > 0:
            condition.wait(left_s)


SYSTEM_CLOCK = SystemClock()
