"""Streams, events, graphs and kernels of `SimulatedCuda`."""

from __future__ import annotations

import math
from collections.abc import Callable
from ctypes import _SimpleCData
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roadseg.cuda.api import Arguments, Dim3, Event, Stream
from roadseg.cuda.failure import cuda_error
from roadseg.testing.cuda.queues import Mark, Point, Queue, run_captured

if TYPE_CHECKING:
    from roadseg.testing.cuda.owner import Owner


KernelFunction = Callable[[Dim3, Dim3, tuple["_SimpleCData[Any]", ...]], None]

_INVALID_HANDLE = "CUDA_ERROR_INVALID_HANDLE"


class SimulatedEvent:
    """See `roadseg.cuda.api.Event`; every piece of work takes a microsecond of simulated time."""

    def __init__(self, cuda: Owner, *, timing: bool) -> None:
        self._cuda = cuda
        self._timing = timing
        self._closed = False
        self.point: Point | None = None

    @property
    def reached_ms(self) -> float | None:
        """When its stream got there, in simulated time; None before."""
        return None if self.point is None else self.point.reached_ms

    def record(self, stream: Stream) -> None:
        queue = self._cuda.queue_of(stream.handle, "recording an event")
        self._require_open("recording an event")
        self.point = Point(queue)
        queue.items.append(Mark(self.point))

    def synchronize(self) -> None:
        doing = "waiting for an event"
        self._cuda.count("synchronize")
        self._cuda.require_current(doing)
        self._cuda.forbid_in_capture(doing)
        self._require_open(doing)
        if self.point is not None:
            self.point.queue.drain(self.point)

    def elapsed_ms(self, since: Event) -> float:
        assert isinstance(since, SimulatedEvent)
        doing = "measuring the time between two events"
        if not (self._timing and since._timing):
            raise cuda_error(_INVALID_HANDLE, doing)
        start_ms, end_ms = since.reached_ms, self.reached_ms
        if start_ms is None or end_ms is None:
            raise cuda_error("CUDA_ERROR_NOT_READY", doing)
        return end_ms - start_ms

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._cuda.live_objects -= 1

    def _require_open(self, doing: str) -> None:
        if self._closed:
            raise cuda_error(_INVALID_HANDLE, doing)


class SimulatedStream:
    """See `roadseg.cuda.api.Stream`."""

    def __init__(self, cuda: Owner, handle: int) -> None:
        self._cuda, self.handle = cuda, handle

    def wait(self, event: Event) -> None:
        assert isinstance(event, SimulatedEvent)
        self._cuda.wait_in_stream(self.handle, event.point)

    def synchronize(self) -> None:
        doing = "waiting for a stream"
        self._cuda.count("synchronize")
        self._cuda.forbid_in_capture(doing)
        self._cuda.queue_of(self.handle, doing).drain()

    def close(self) -> None:
        self._cuda.forget_stream(self.handle)


class SimulatedGraph:
    """See `roadseg.cuda.api.Graph`."""

    def __init__(self, cuda: Owner, lanes: list[Queue]) -> None:
        self._cuda = cuda
        self._lanes: list[Queue] | None = lanes

    def launch(self, stream: Stream) -> None:
        doing = "launching a CUDA graph"
        if self._lanes is None:
            raise cuda_error(_INVALID_HANDLE, doing)
        lanes = self._lanes
        self._cuda.count("graph_launch")
        self._cuda.enqueue(
            stream.handle, lambda: run_captured(lanes, self._cuda.clock), doing=doing
        )

    def close(self) -> None:
        if self._lanes is not None:
            self._lanes = None
            self._cuda.live_objects -= 1


@dataclass(slots=True)
class SimulatedKernel:
    """See `roadseg.cuda.api.Kernel`; a Python function stands for the code."""

    cuda: Owner
    name: str
    function: KernelFunction

    def launch(self, grid: Dim3, block: Dim3, args: Arguments, stream_handle: int) -> None:
        doing = f"starting the kernel {self.name}"
        if min(*grid, *block) < 1 or math.prod(block) > 1024:
            raise cuda_error("CUDA_ERROR_INVALID_VALUE", doing)
        # A launch reads its parameters at once, also one that is captured.
        values = tuple(type(arg)(arg.value) for arg in args)
        self.cuda.count("launch")
        self.cuda.enqueue(stream_handle, lambda: self.function(grid, block, values), doing=doing)
