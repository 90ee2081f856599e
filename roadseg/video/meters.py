"""What a run measures: frame rate, latency, the time of each stage.

Every meter takes its times from the caller or from an injected clock (seconds, monotonic), so
tests need no waiting. Memory stays bounded on endless streams: percentiles come from a reservoir
of 4096 samples, which is exact for shorter runs and a uniform random sample of longer ones.
Each meter is written by one thread; other threads may read its attributes.
"""

from __future__ import annotations

import math
import random
import time
from array import array
from collections import deque
from collections.abc import Callable
from types import TracebackType

import numpy as np

from roadseg.video.stats import Latency

Clock = Callable[[], float]

STAGES = ("capture", "preprocess", "infer", "postprocess", "render", "encode")


class Reservoir:
    """A bounded sample of an unbounded series (Vitter's algorithm R), and its exact maximum.

    Args:
        capacity: series up to this length are kept whole.
    """

    def __init__(self, capacity: int = 4096) -> None:
        self.count = 0
        self.max: float | None = None
        self._capacity = capacity
        self._samples = array("d")
        self._random = random.Random(0)  # seeded: equal series, equal report

    def add(self, value: float) -> None:
        """Take one value into account."""
        self.count += 1
        if self.max is None or value > self.max:
            self.max = value
        if len(self._samples) < self._capacity:
            self._samples.append(value)
            return
        slot = self._random.randrange(self.count)
        if slot < self._capacity:
            self._samples[slot] = value

    def percentile(self, percent: float) -> float | None:
        """The percentile by linear interpolation, `percent` in 0..100; None without values."""
        if not self._samples:
            return None
        return float(np.percentile(np.array(self._samples), percent))


class StageTimer:
    """Times a `with` block, in milliseconds, for one stage that runs in one thread.

    >>> infer = StageTimer(time.perf_counter)
    >>> with infer:
    ...     ids = backend.infer(batch_bgr)
    >>> infer.times_ms.percentile(50)
    20.4
    """

    def __init__(self, clock: Clock) -> None:
        self.times_ms = Reservoir()
        self._clock = clock
        self._started_s = 0.0

    def __enter__(self) -> None:
        self._started_s = self._clock()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # A block that failed says nothing about how long the stage takes.
        if kind is None:
            self.times_ms.add((self._clock() - self._started_s) * 1e3)


class SlidingWindow:
    """Frame rate and mean latency of the last `span_s` seconds, for people to look at.

    Attributes:
        fps: intervals per second, n ticks being n - 1 intervals; NaN before the second tick.
        latency_ms: mean over the same frames; NaN before the first tick.
    """

    def __init__(self, span_s: float = 2.0) -> None:
        self.fps = math.nan
        self.latency_ms = math.nan
        self._span_s = span_s
        self._ticks: deque[tuple[float, float]] = deque()
        self._latency_sum_ms = 0.0

    def tick(self, now_s: float, latency_ms: float) -> None:
        """One frame has come out at `now_s`."""
        ticks = self._ticks
        ticks.append((now_s, latency_ms))
        self._latency_sum_ms += latency_ms
        # Two ticks always stay, so that a source slower than the window still has a rate.
        while len(ticks) > 2 and now_s - ticks[0][0] > self._span_s:
            self._latency_sum_ms -= ticks.popleft()[1]
        elapsed_s = now_s - ticks[0][0]
        if elapsed_s > 0:
            self.fps = (len(ticks) - 1) / elapsed_s
        self.latency_ms = self._latency_sum_ms / len(ticks)


class Meters:
    """All meters of one run.

    Args:
        clock: seconds, monotonic; the clock that stamps `Frame.captured_s`.
        started_s: when the user began to wait, for the time to the first frame; default now.
    """

    def __init__(self, clock: Clock = time.monotonic, started_s: float | None = None) -> None:
        self.capture = StageTimer(clock)
        self.preprocess = StageTimer(clock)
        self.infer = StageTimer(clock)
        self.postprocess = StageTimer(clock)
        self.render = StageTimer(clock)
        self.encode = StageTimer(clock)
        self.latencies_ms = Reservoir()
        self.recent = SlidingWindow()
        self.frames_out = 0
        self.first_frame_s: float | None = None
        self.clock = clock
        self._waiting_since_s = clock() if started_s is None else started_s
        self._begun_s: float | None = None
        self._ended_s: float | None = None

    def begin(self) -> None:
        """The first frame is about to be read."""
        self._begun_s = self.clock()

    def frame_out(self, captured_s: float) -> None:
        """A frame captured at `captured_s` has now been delivered."""
        now_s = self.clock()
        latency_ms = (now_s - captured_s) * 1e3
        self.latencies_ms.add(latency_ms)
        self.recent.tick(now_s, latency_ms)
        self.frames_out += 1
        if self.first_frame_s is None:
            self.first_frame_s = now_s - self._waiting_since_s

    def end(self) -> None:
        """The last frame has been delivered and the sinks are closed."""
        self._ended_s = self.clock()

    @property
    def fps(self) -> float:
        """Frames out per second, from before the first read to after the sinks were closed.

        That span holds as many capture, inference and encode times as there are frames, so
        here n frames are n intervals. Compiling the network is not part of it.
        """
        if self._begun_s is None:
            return 0.0
        ended_s = self.clock() if self._ended_s is None else self._ended_s
        elapsed_s = ended_s - self._begun_s
        return self.frames_out / elapsed_s if elapsed_s > 0 else 0.0

    def stages_ms(self) -> dict[str, float | None]:
        """Median milliseconds of each stage; None for a stage that did not run."""
        return {stage: _rounded(getattr(self, stage).times_ms.percentile(50)) for stage in STAGES}

    def latency(self) -> Latency:
        """From capture to delivery of each frame."""
        return Latency(
            p50=_rounded(self.latencies_ms.percentile(50)),
            p95=_rounded(self.latencies_ms.percentile(95)),
            max=_rounded(self.latencies_ms.max),
        )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
