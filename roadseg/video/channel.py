"""A bounded hand-over between two threads that wakes at once when either side stops.

`queue.Queue` cannot be closed before Python 3.13, so a thread that waits on it must poll a stop
flag. A `Channel` ends from both sides instead:

- the producer calls `close()`: what is queued is still delivered, then iteration ends;
- the consumer calls `cancel()`: what is queued is thrown away, and `put` raises `Closed`.

A chain of stages that each close their outbox and cancel their inbox when they end, for whatever
reason, therefore stops as a whole: downstream drains, upstream gives up.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Closed(Exception):
    """The other side has ended: nothing more will come, or nothing more is wanted."""


class Channel(Generic[T]):
    """A first-in first-out hand-over of at most `capacity` items.

    Args:
        capacity: how many items may wait, at least 1.
        newest_wins: a `put` into a full channel throws the oldest item away and counts it in
            `dropped`, instead of waiting.

    Attributes:
        accepted: items that `put` took.
        dropped: accepted items that newer ones replaced.

    Raises:
        ValueError: `capacity` is below 1.
    """

    def __init__(self, capacity: int, *, newest_wins: bool = False) -> None:
        if capacity < 1:
            raise ValueError(f"expected a capacity of at least 1, got {capacity}")
        self.accepted = 0
        self.dropped = 0
        self._capacity = capacity
        self._newest_wins = newest_wins
        self._items: deque[T] = deque()
        self._closed = False
        lock = threading.Lock()
        self._not_empty = threading.Condition(lock)
        self._not_full = threading.Condition(lock)

    def put(self, item: T) -> None:
        """Queue `item`; waits while the channel is full, unless the newest item wins.

        Raises:
            Closed: either side has ended. The item was not taken.
        """
        with self._not_full:
            while len(self._items) >= self._capacity and not self._closed:
                if self._newest_wins:
                    self._items.popleft()
                    self.dropped += 1
                else:
                    self._not_full.wait()
            if self._closed:
                raise Closed
            self._items.append(item)
            self.accepted += 1
            self._not_empty.notify()

    def get(self, timeout_s: float | None = None) -> T:
        """The oldest item; waits for one.

        Raises:
            Closed: the channel is closed and empty.
            TimeoutError: no item came within `timeout_s`.
        """
        with self._not_empty:
            if not self._not_empty.wait_for(lambda: self._items or self._closed, timeout_s):
                raise TimeoutError
            if not self._items:
                raise Closed
            item = self._items.popleft()
            self._not_full.notify()
            return item

    def __iter__(self) -> Iterator[T]:
        """Every item until the channel is closed and empty."""
        while True:
            try:
                item = self.get()
            except Closed:
                return
            yield item

    def close(self) -> None:
        """No more `put`; what is queued can still be read. A second call does nothing."""
        with self._not_empty:
            self._closed = True
            self._not_empty.notify_all()
            self._not_full.notify_all()

    def cancel(self) -> None:
        """No more `put` and nothing left to `get`: queued items are thrown away."""
        with self._not_empty:
            self._closed = True
            self._items.clear()
            self._not_empty.notify_all()
            self._not_full.notify_all()
