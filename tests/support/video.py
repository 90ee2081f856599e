"""A source, a sink, a network and a window for the video loop, which block on events."""

from __future__ import annotations

import os
import signal
import threading
from fractions import Fraction
from pathlib import Path

import numpy as np

from roadseg.core.types import Frame
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.base import SourceInfo
from roadseg.render import Renderer
from roadseg.video.loop import VideoLoop

PATIENCE_S = 30.0  # only a failing test waits that long
SIZE_HW = (32, 64)


def wait(event: threading.Event) -> None:
    assert event.wait(PATIENCE_S), "what the test waits for never happened"


class FakeSource:
    """Frames that know their number; `before[i]` runs in `read`, before frame i is returned."""

    def __init__(self, frames: int | None, *, kind="file", before=None, sizes_hw=None) -> None:
        self.info = SourceInfo(
            name="fake",
            kind=kind,
            size_hw=SIZE_HW,
            rate=Fraction(25),
            frame_count=frames if kind == "file" else None,
            has_audio=False,
            path=None,
        )
        self.frames_lost = 0
        self.warnings: list[str] = []
        self._frames = frames
        self._before = before or {}
        self._sizes_hw = sizes_hw or {}
        self._index = 0

    def read(self) -> Frame | None:
        if self._index in self._before:
            self._before[self._index]()
        if self._index == self._frames:
            return None
        height, width = self._sizes_hw.get(self._index, SIZE_HW)
        image = np.full((height, width, 3), self._index % 256, np.uint8)
        frame = Frame(image, self._index, self._index / 25, captured_s=0.0)
        self._index += 1
        return frame

    def close(self) -> None:
        pass

    def __enter__(self):
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass


class FakeSink:
    """Remembers what it got; `before[i]` runs in `write`, before frame i is taken."""

    def __init__(self, *, before=None, close_error=None, name="out.mp4") -> None:
        self.frames_out = 0
        self.warnings: list[str] = []
        self.path: Path | None = Path(name)
        self.indices: list[int] = []
        self.pictures: list[np.ndarray] = []
        self.closed: list[bool] = []
        self.threads: set[str] = set()
        self._before = before or {}
        self._close_error = close_error

    def write(self, image_bgr: np.ndarray, frame: Frame) -> None:
        self.threads.add(threading.current_thread().name)
        if frame.index in self._before:
            self._before[frame.index]()
        self.indices.append(frame.index)
        self.pictures.append(image_bgr)
        self.frames_out += 1

    def close(self, *, ok: bool) -> None:
        self.closed.append(ok)
        if self._close_error is not None:
            raise self._close_error


class GatedSegmenter(Segmenter):
    """The fake backend; `before[n]` runs before the n-th inference."""

    def __init__(self, before=None, size_hw=SIZE_HW) -> None:
        super().__init__(backend="fake", size_hw=size_hw)
        self.calls = 0
        self._before = before or {}

    def infer(self, network_bgr):
        if self.calls in self._before:
            self._before[self.calls]()
        self.calls += 1
        return super().infer(network_bgr)


class FakeWindow:
    """Counts pictures; closed by the user at picture number `closed_at`."""

    def __init__(self, closed_at: int | None = None, error=None) -> None:
        self.threads: set[threading.Thread] = set()
        self.shown = 0
        self._closed_at = closed_at
        self._error = error

    def show(self, image_bgr) -> bool:
        assert image_bgr.shape == (*SIZE_HW, 3)
        self.threads.add(threading.current_thread())
        self.shown += 1
        if self._error is not None:
            raise self._error
        return self._closed_at is None or self.shown < self._closed_at

    def close(self) -> None:
        pass


def fail_with(error):
    def fail() -> None:
        raise error

    return fail


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


class WatchedRenderer(Renderer):
    """A plain one that shows what it is given to `look(picture, hud)` first."""

    def __init__(self, look) -> None:
        super().__init__(hud=False, legend=False)
        self._look = look

    def __call__(self, picture, label_map, hud=None, *more):
        self._look(picture, hud)
        return super().__call__(picture, label_map, hud, *more)


def make_loop(source, segmenter=None, sink=None, renderer=None, **kwargs) -> VideoLoop:
    return VideoLoop(
        source,
        segmenter or GatedSegmenter(),
        renderer or Renderer(hud=False, legend=False),
        sink=sink,
        **kwargs,
    )
