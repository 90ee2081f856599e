"""What the parts of a simulated GPU ask of the whole; see `SimulatedCuda`, which is one."""

from __future__ import annotations

from typing import Protocol

from roadseg.testing.cuda.queues import Clock, Point, Queue, Work


class Owner(Protocol):
    """The GPU that buffers, streams, events, graphs and kernels belong to."""

    live_objects: int
    clock: Clock

    def enqueue(self, stream_handle: int, work: Work, *, doing: str = ...) -> None: ...

    def count(self, what: str) -> None: ...

    def require_current(self, doing: str) -> None: ...

    def forbid_in_capture(self, doing: str) -> None: ...

    def queue_of(self, stream_handle: int, doing: str) -> Queue: ...

    def wait_in_stream(self, stream_handle: int, point: Point | None) -> None: ...

    def forget_stream(self, stream_handle: int) -> None: ...
