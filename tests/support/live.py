"""Doubles for the live room: a clock that is turned by hand, sources that are led by tests."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from roadseg.core.errors import SourceError
from roadseg.core.types import Frame
from roadseg.media.sources.base import Source, SourceInfo, SourceKind

__all__ = ["PATIENCE_S", "FakeClock", "FakeSource", "Paced", "RealTime", "eventually", "make_frame"]

# Long enough for the slowest machine: it is only waited out by a test that fails.
PATIENCE_S = 60.0


class FakeClock:
    """Seconds that only `advance` adds to."""

    def __init__(self) -> None:
        self._now_s = 1000.0
        self._lock = threading.Lock()
        self._waiting: list[threading.Condition] = []

    def __call__(self) -> float:
        return self._now_s

    def wait_until(self, condition: threading.Condition, due_s: float | None) -> None:
        with self._lock:
            if due_s is not None and self._now_s >= due_s:
                return
            self._waiting.append(condition)
        condition.wait()

    def advance(self, seconds: float) -> None:
        with self._lock:
            self._now_s += seconds
            woken, self._waiting = self._waiting, []
        for condition in woken:
            with condition:
                condition.notify_all()


def make_frame(
    index: int = 0, captured_s: float = 0.0, shade: int = 100, size_hw: tuple[int, int] = (48, 64)
) -> Frame:
    image_bgr = np.full((*size_hw, 3), shade, np.uint8)
    return Frame(image_bgr, index, index / 25, captured_s)


class FakeSource:
    """Gives what a test puts into it: frames, errors to raise, None for the end.

    Attributes:
        closed: by whoever has read it.
        reading: set whenever `read` has been entered.
    """

    def __init__(self, kind: SourceKind = "live", size_hw: tuple[int, int] = (48, 64)) -> None:
        self.info = SourceInfo("fake", kind, size_hw, Fraction(25), None, False, None)
        self.frames_lost = 0
        self.warnings: list[str] = []
        self.closed = threading.Event()
        self.reading = threading.Event()
        self._items: queue.Queue[Any] = queue.Queue()

    def feed(self, *items: Any) -> FakeSource:
        for item in items:
            self._items.put(item)
        return self

    def read(self) -> Frame | None:
        self.reading.set()
        item = self._items.get()
        if isinstance(item, BaseException):
            raise item
        assert item is None or isinstance(item, Frame)
        return item

    def close(self) -> None:
        self.closed.set()

    def __enter__(self) -> FakeSource:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Paced:
    """A source played in real time: `count` frames at `fps`, or in bursts.

    Args:
        gaps_s: seconds before each frame, again and again.
        ends: what follows the last frame: None, or an error to raise.
    """

    def __init__(
        self,
        gaps_s: list[float],
        count: int,
        *,
        kind: SourceKind = "live",
        shade: int = 100,
        ends: SourceError | None = None,
    ) -> None:
        self.info = SourceInfo("paced", kind, (48, 64), None, None, False, None)
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._gaps_s, self._count, self._shade, self._ends = gaps_s, count, shade, ends
        self._index = 0
        self._due_s = time.monotonic()
        self._closed = threading.Event()

    def read(self) -> Frame | None:
        if self._index == self._count:
            if self._ends is not None:
                raise self._ends
            return None
        self._due_s += self._gaps_s[self._index % len(self._gaps_s)]
        time.sleep(max(self._due_s - time.monotonic(), 0))
        frame = make_frame(self._index, time.monotonic(), self._shade)
        self._index += 1
        return frame

    def close(self) -> None:
        self._closed.set()

    def __enter__(self) -> Paced:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class RealTime:
    """A file played like a camera: live, at its own rate, stamped when its time has come."""

    def __init__(self, source: Source) -> None:
        self.info = replace(source.info, kind="live", frame_count=None)
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._source = source
        self._began_s = time.monotonic()

    def read(self) -> Frame | None:
        frame = self._source.read()
        if frame is None:
            return None
        time.sleep(max(self._began_s + frame.time_s - time.monotonic(), 0))
        return replace(frame, captured_s=time.monotonic())

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> RealTime:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def eventually(condition: Callable[[], bool]) -> None:
    """Wait until something holds that another thread brings about."""
    ends_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < ends_s, "it never came about"
        time.sleep(0.005)
