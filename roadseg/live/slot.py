"""The newest of something, for one who watches: never waits, never piles up."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Slot"]

T = TypeVar("T")


class Slot(Generic[T]):
    """One item; a newer one replaces it.

    Args:
        room: for so many items; the oldest makes way for a newer one.
        wake: called when an item has come, in the thread that brought it: it must return at once,
            as `loop.call_soon_threadsafe` does.

    Attributes:
        replaced: items that nobody took in time.
        closed: nothing more will come.
    """

    def __init__(self, wake: Callable[[], None] | None = None, *, room: int = 1) -> None:
        self.replaced = 0
        self.closed = False
        self._wake = wake
        self._room = room
        self._items: deque[T] = deque()
        self._changed = threading.Condition()

    def put(self, item: T, *, replaces: bool = True) -> None:
        """Leave an item; nothing happens once the slot is closed. Where it does not replace the
        oldest it finds room beyond what there is."""
        with self._changed:
            if self.closed:
                return
            if replaces and len(self._items) >= self._room:
                self._items.popleft()
                self.replaced += 1
            self._items.append(item)
            self._changed.notify_all()
        if self._wake is not None:
            self._wake()

    def take(self) -> T | None:
        """The item, without waiting."""
        with self._changed:
            return self._items.popleft() if self._items else None

    def get(self, timeout_s: float | None = None) -> T | None:
        """The item; waits for one. None when the slot is closed and empty, or time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self.closed, timeout_s)
            return self._items.popleft() if self._items else None

    @property
    def empty(self) -> bool:
        """Whether the last item has been taken."""
        return not self._items

    def close(self) -> None:
        """Let whoever waits go on; what is inside can still be taken."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
