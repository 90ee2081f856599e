"""The lazy queues behind `SimulatedCuda`: work runs only when someone waits for it.

A GPU may run work late or early; a simulation that ran it at once would hide every missing
synchronisation. Here nothing runs before the host waits for it, so results read too early are
still the old ones, and inputs changed too early are already the new ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

Work = Callable[[], None]


@dataclass(slots=True)
class Clock:
    """Simulated time: every piece of work takes a microsecond."""

    now_ms: float = 0.0

    def tick(self) -> None:
        """Let a piece of work pass."""
        self.now_ms += 0.001


@dataclass(eq=False, slots=True)
class Point:
    """Where an event was recorded."""

    queue: Queue
    reached_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The queue reaches `point` here."""

    point: Point


@dataclass(frozen=True, slots=True)
class Wait:
    """The queue goes on when `point`, of any queue, is reached."""

    point: Point


@dataclass(eq=False, slots=True)
class Queue:
    """What one stream was given and has not done."""

    clock: Clock
    items: deque[Work | Mark | Wait] = field(default_factory=deque)

    def drain(self, until: Point | None = None) -> None:
        """Do everything, or everything up to `until`, and what that waits for in other queues."""
        # A stack of our own: frames that were never waited for make chains of any length.
        stack: list[tuple[Queue, Point | None]] = [(self, until)]
        while stack:
            queue, goal = stack[-1]
            if not queue.items or (goal is not None and goal.reached_ms is not None):
                stack.pop()
                continue
            item = queue.items[0]
            if isinstance(item, Wait) and item.point.reached_ms is None:
                stack.append((item.point.queue, item.point))
                continue
            queue.items.popleft()
            if isinstance(item, Mark):
                item.point.reached_ms = queue.clock.now_ms
            elif not isinstance(item, Wait):
                queue.clock.tick()
                item()


def run_captured(lanes: list[Queue], clock: Clock) -> None:
    """Run captured work once, leaving the recording as it is.

    Args:
        lanes: the recorded queues of the streams, that of the origin first; it waits for all of
            the others' work.
        clock: what the work's time is added to.
    """
    _copies(lanes, clock)[0].drain()


def is_joined(lanes: list[Queue]) -> bool:
    """Whether the first of the recorded queues waits for all work of the others."""
    copies = _copies(lanes, Clock(), dry=True)
    copies[0].drain()
    return not any(callable(item) for copy in copies for item in copy.items)


def _copies(lanes: list[Queue], clock: Clock, *, dry: bool = False) -> list[Queue]:
    copies = {id(lane): Queue(clock) for lane in lanes}
    points: dict[int, Point] = {}

    def copied(point: Point) -> Point:
        return points.setdefault(id(point), Point(copies[id(point.queue)]))

    for lane in lanes:
        items = copies[id(lane)].items
        for item in lane.items:
            if isinstance(item, Mark):
                items.append(Mark(copied(item.point)))
            elif isinstance(item, Wait):
                items.append(Wait(copied(item.point)))
            else:
                items.append(_nothing if dry else item)
    return list(copies.values())


def _nothing() -> None:
    """Stands for work that is only counted."""
