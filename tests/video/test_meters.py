"""Rates, latencies and percentiles against a clock that the test moves."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from roadseg.video.meters import STAGES, Meters, Reservoir, SlidingWindow, StageTimer
from roadseg.video.stats import Latency, PictureName, RunStats, peak_rss_mb


class FakeClock:
    """Time that passes only when told."""

    def __init__(self, now_s: float = 100.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def wait(self, seconds: float) -> None:
        self.now_s += seconds


def test_sliding_window_counts_intervals_not_ticks():
    window = SlidingWindow(span_s=10.0)
    for i in range(5):
        window.tick(now_s=i * 0.1, latency_ms=20.0)
    assert window.fps == pytest.approx(10.0)  # 5 ticks span 4 intervals of 0.1 s


def test_sliding_window_is_unknown_at_first():
    window = SlidingWindow()
    assert math.isnan(window.fps)
    assert math.isnan(window.latency_ms)
    window.tick(1.0, 30.0)
    assert math.isnan(window.fps)
    assert window.latency_ms == 30.0


def test_sliding_window_forgets():
    window = SlidingWindow(span_s=1.0)
    for i in range(20):
        window.tick(i * 0.5, 100.0)
    for i in range(1, 31):
        window.tick(9.5 + i * 0.1, 10.0 + i % 2)
    assert window.fps == pytest.approx(10.0)
    assert window.latency_ms == pytest.approx(10.5, abs=0.05)


def test_sliding_window_keeps_two_ticks_of_a_slow_source():
    window = SlidingWindow(span_s=1.0)
    window.tick(0.0, 1.0)
    window.tick(60.0, 1.0)
    window.tick(120.0, 1.0)
    assert window.fps == pytest.approx(1 / 60)


def test_sliding_window_survives_a_clock_that_stands_still():
    window = SlidingWindow()
    window.tick(1.0, 5.0)
    window.tick(1.0, 5.0)
    assert math.isnan(window.fps)


def test_reservoir_is_exact_below_its_capacity():
    reservoir = Reservoir()
    for value in (5.0, 1.0, 2.0, 4.0, 3.0):
        reservoir.add(value)
    assert reservoir.percentile(50) == 3.0
    assert reservoir.percentile(95) == pytest.approx(4.8)
    assert (reservoir.max, reservoir.count) == (5.0, 5)


def test_reservoir_without_values():
    assert Reservoir().percentile(50) is None
    assert Reservoir().max is None


def test_reservoir_stays_bounded_and_representative():
    reservoir = Reservoir(capacity=1000)
    values = np.random.default_rng(1).permutation(50_000).astype(float)
    for value in values:
        reservoir.add(float(value))
    assert len(reservoir._samples) == 1000
    assert reservoir.max == 49_999.0
    # The median of a sample of n lies within 0.5 +- 4 * 0.5 / sqrt(n) of the quantiles.
    median = reservoir.percentile(50)
    assert median is not None
    assert abs(median / 50_000 - 0.5) < 4 * 0.5 / math.sqrt(1000)


def test_stage_timer_measures_milliseconds():
    clock = FakeClock()
    timer = StageTimer(clock)
    for seconds in (0.010, 0.030, 0.020):
        with timer:
            clock.wait(seconds)
    assert timer.times_ms.percentile(50) == pytest.approx(20.0)


def test_stage_timer_ignores_what_failed():
    clock = FakeClock()
    timer = StageTimer(clock)
    with pytest.raises(RuntimeError), timer:
        raise RuntimeError
    assert timer.times_ms.count == 0


def test_fps_is_frames_over_the_whole_span():
    clock = FakeClock()
    meters = Meters(clock)
    clock.wait(5.0)  # compiling is not part of it
    meters.begin()
    for _ in range(4):
        clock.wait(0.25)
        meters.frame_out(captured_s=clock() - 0.1)
    clock.wait(1.0)  # closing the file is
    meters.end()
    clock.wait(60.0)
    assert meters.fps == pytest.approx(4 / 2.0)
    assert meters.first_frame_s == pytest.approx(5.25)


def test_fps_before_the_end_and_before_the_beginning():
    clock = FakeClock()
    meters = Meters(clock)
    assert meters.fps == 0.0
    meters.begin()
    assert meters.fps == 0.0
    clock.wait(0.5)
    meters.frame_out(captured_s=clock())
    assert meters.fps == pytest.approx(2.0)


def test_latency_is_from_capture_to_delivery():
    clock = FakeClock()
    meters = Meters(clock, started_s=99.0)
    meters.begin()
    for latency_s in (0.010, 0.020, 0.090):
        meters.frame_out(captured_s=clock() - latency_s)
    assert meters.latency() == Latency(p50=20.0, p95=83.0, max=90.0)
    assert meters.first_frame_s == pytest.approx(1.0)


def test_stage_medians_have_every_stage():
    clock = FakeClock()
    meters = Meters(clock)
    with meters.infer:
        clock.wait(0.02)
    assert tuple(meters.stages_ms()) == STAGES
    assert meters.stages_ms()["infer"] == pytest.approx(20.0)
    assert meters.stages_ms()["render"] is None


def test_run_stats_as_json():
    stats = RunStats(
        frames_in=3,
        frames_out=2,
        dropped=1,
        fps=25.0,
        latency_ms=Latency(1.0, 2.0, 3.0),
        stages_ms=dict.fromkeys(STAGES, 1.0),
        backend="fake",
        model="fake",
        size_hw=(352, 480),
        peak_rss_mb=100.0,
        frames_lost=0,
        warnings=("careful",),
        first_frame_s=0.5,
        names=(PictureName("a/Cam1.jpg", "Cam1.png"),),
    )
    assert json.loads(json.dumps(stats.to_json())) == {
        "frames_in": 3,
        "frames_out": 2,
        "dropped": 1,
        "fps": 25.0,
        "latency_ms": {"p50": 1.0, "p95": 2.0, "max": 3.0},
        "stages_ms": {
            "capture": 1.0,
            "preprocess": 1.0,
            "infer": 1.0,
            "postprocess": 1.0,
            "render": 1.0,
            "encode": 1.0,
        },
        "backend": "fake",
        "model": "fake",
        "size_hw": [352, 480],
        "peak_rss_mb": 100.0,
        "frames_lost": 0,
        "warnings": ["careful"],
        "first_frame_s": 0.5,
        "reuse": 1,
        "names": [{"source": "a/Cam1.jpg", "picture": "Cam1.png"}],
    }


def test_peak_memory_grows_with_what_is_held():
    before = peak_rss_mb()
    if before is None:
        pytest.skip("this system does not tell")
    assert 10 < before < 100_000
    held = np.ones(64 * 2**20, np.uint8)
    after = peak_rss_mb()
    assert after is not None
    assert after >= max(before, held.nbytes / 2**20)
