"""Frames for the mp4 sink, and what it wrote."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np

from roadseg.core.types import Frame, Image
from roadseg.media.sinks.sink import Sink, open_sink
from roadseg.media.sources.base import SourceInfo
from roadseg.media.sources.opening import open_source

MakeClip = Callable[..., Path]


INFO = SourceInfo(
    name="test",
    kind="file",
    size_hw=(48, 64),
    rate=Fraction(25),
    frame_count=None,
    has_audio=False,
    path=None,
    time_base=Fraction(1, 25),
)


def frame_at(index: int, time_s: float | None = None) -> Frame:
    """A frame's number and time; sinks do not look at its picture."""
    time_s = index / 25 if time_s is None else time_s
    return Frame(np.zeros((1, 1, 3), dtype=np.uint8), index, time_s, 0.0)


def grey(level: int, size_hw: tuple[int, int] = (48, 64)) -> Image:
    return np.full((*size_hw, 3), level, dtype=np.uint8)


def transcode(source_path: Path, output: Path, *, max_frames: int | None = None) -> Sink:
    """Source to sink, unchanged."""
    with open_source(str(source_path), max_frames=max_frames) as source:
        sink = open_sink(output, source.info)
        while (frame := source.read()) is not None:
            sink.write(frame.image_bgr, frame)
    sink.close(ok=True)
    return sink


def read_back(path: Path) -> list[Frame]:
    with open_source(str(path)) as source:
        return list(iter(source.read, None))


def leftovers(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())
