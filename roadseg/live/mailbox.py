"""The hand-over from a camera to the network: one frame, of which the newest wins.

A mailbox of a live source never makes the camera wait. One that keeps every frame (files) does,
until its frame has been taken: nothing is lost there, and nothing piles up.

The mailboxes that one thread serves share a bell, which rings when any of them has something.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from roadseg.core.types import Frame
from roadseg.live.clock import SYSTEM_CLOCK
from roadseg.live.rates import Tally


class Bell:
    """What the thread that serves several mailboxes waits on.

    Attributes:
        lock: re-entrant; held while a mailbox is looked at or changed.
        rung: notified when a mailbox has been filled, closed or set going again.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.rung = threading.Condition(self.lock)

    def ring(self) -> None:
        """Have the thread look again."""
        with self.lock:
            self.rung.notify_all()


class Mailbox:
    """One frame on its way.

    Args:
        bell: shared by the mailboxes that one thread serves; its own when None.
        max_staleness_s: a frame that is older than this when it leaves is dropped as late. None
            lets every age pass, as `every` does.
        every: `put` waits for the frame before to be taken, instead of replacing it.
        tally: counts what was read and dropped.
        clock: seconds; the clock that stamps `Frame.captured_s`.

    Attributes:
        every: as given; may be changed while nothing is put.
        closed: nothing more will come. What is inside can still be taken.
    """

    def __init__(
        self,
        bell: Bell | None = None,
        *,
        max_staleness_s: float | None = None,
        every: bool = False,
        tally: Tally | None = None,
        clock: Callable[[], float] = SYSTEM_CLOCK,
    ) -> None:
        self.every = every
        self.closed = False
        self.tally = tally or Tally()
        self._bell = bell or Bell()
        self._emptied = threading.Condition(self._bell.lock)
        self._max_staleness_s = max_staleness_s
        self._clock = clock
        self._frame: Frame | None = None
        self._waiting_since_s: float | None = None
        self._paused = False

    def put(self, frame: Frame) -> bool:
        """Leave a frame; with `every`, wait until there is room for it.

        Returns:
            False if the mailbox is closed: the frame counts as stopped, and the camera may end.
        """
        with self._bell.lock:
            self.tally.read += 1
            if self.every:
                self._emptied.wait_for(
                    lambda: self.closed or (self._frame is None and not self._paused)
                )
            if self.closed:
                self.tally.drop("stopped")
                return False
            if self._paused:
                self.tally.drop("paused")
                return True
            if self._frame is not None:
                self.tally.drop("replaced")
            self._frame = frame
            # The source keeps its place in the queue when a newer frame replaces an older one.
            if self._waiting_since_s is None:
                self._waiting_since_s = self._clock()
            self._bell.rung.notify_all()
            return True

    def skip(self, number: int = 1) -> None:
        """Count frames that were read and that nobody asked for."""
        with self._bell.lock:
            self.tally.read += number
            self.tally.drop("skipped", number)

    def lose(self, number: int) -> None:
        """Count frames that the source could not decode."""
        with self._bell.lock:
            self.tally.read += number
            self.tally.drop("damaged", number)

    @property
    def waiting_since_s(self) -> float | None:
        """Since when the source has waited for its turn; None if there is no frame to take."""
        with self._bell.lock:
            held = self._paused and not self.closed
            return None if self._frame is None or held else self._waiting_since_s

    def take(self) -> Frame | None:
        """The frame, without waiting; None if there is none that is fresh enough."""
        with self._bell.lock:
            frame, self._frame = self._frame, None
            if frame is None:
                return None
            self._emptied.notify_all()
            if self.is_late(frame, self._clock()):
                # Its turn is not used up: the next frame takes its place.
                self.tally.drop("late")
                return None
            self._waiting_since_s = None
            return frame

    def get(self, due_s: float | None = None) -> Frame | None:
        """The frame; waits for one. For a thread that serves this mailbox alone.

        Returns:
            None when the mailbox is closed and empty, or `due_s` has come. Only the system's
            clock can be waited on here.
        """
        with self._bell.lock:
            while True:
                frame = self.take()
                if frame is not None or self.closed:
                    return frame
                if due_s is not None and self._clock() >= due_s:
                    return None
                SYSTEM_CLOCK.wait_until(self._bell.rung, due_s)

    def is_late(self, frame: Frame, now_s: float) -> bool:
        """Whether a frame is older than the staleness allows."""
        if self.every or self._max_staleness_s is None:
            return False
        return now_s - frame.captured_s > self._max_staleness_s

    def pause(self) -> None:
        """Drop frames of a live source; make one that keeps every frame wait."""
        with self._bell.lock:
            self._paused = True
            if self._frame is not None and not self.every:
                self._frame = None
                self.tally.drop("paused")

    def resume(self) -> None:
        """Let frames pass again."""
        with self._bell.lock:
            self._paused = False
            self._emptied.notify_all()
            self._bell.rung.notify_all()

    @property
    def paused(self) -> bool:
        """Whether `pause` holds."""
        return self._paused

    @property
    def finished(self) -> bool:
        """Whether it is closed and empty: nothing will ever come out of it."""
        with self._bell.lock:
            return self.closed and self._frame is None

    def close(self) -> None:
        """Take no more frames. The one inside can still be taken."""
        with self._bell.lock:
            self.closed = True
            self._emptied.notify_all()
            self._bell.rung.notify_all()

    def cancel(self) -> None:
        """Close, and throw away the frame inside."""
        with self._bell.lock:
            if self._frame is not None:
                self._frame = None
                self.tally.drop("stopped")
            self.close()
