"""The video loop: frame accounting, threads that overlap, statistics.

Nothing here waits for the clock: fakes block on events until what the test is about has happened.
"""

from __future__ import annotations

import math
import threading
from itertools import count

import pytest

from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.base import SourceInfo
from roadseg.render import Renderer
from roadseg.video.loop import VideoLoop, _depth
from roadseg.video.meters import STAGES, Meters
from tests.support.video import (
    SIZE_HW,
    FakeSink,
    FakeSource,
    FakeWindow,
    GatedSegmenter,
    WatchedRenderer,
    make_loop,
    wait,
)

pytestmark = pytest.mark.usefixtures("as_typed", "no_thread_left")


# Files: nothing lost, in order.


@pytest.mark.parametrize("frames", [1, 2, 57])
def test_every_frame_of_a_file_comes_out_in_order(frames):
    sink, masks = FakeSink(), FakeSink(name="masks")
    stats = make_loop(FakeSource(frames), sink=sink, mask_sink=masks).run()
    assert sink.indices == masks.indices == list(range(frames))
    assert (stats.frames_in, stats.frames_out, stats.dropped) == (frames, frames, 0)
    assert sink.closed == masks.closed == [True]
    assert sink.threads == {"roadseg-encode"}


def test_pictures_and_masks_belong_to_their_frame():
    sink, masks = FakeSink(), FakeSink(name="masks")
    renderer = Renderer(alpha=0.0, hud=False, legend=False)
    make_loop(FakeSource(200), sink=sink, mask_sink=masks, renderer=renderer).run()
    for index in range(200):
        assert sink.pictures[index].shape == (*SIZE_HW, 3)
        assert (sink.pictures[index] == index).all()
        assert masks.pictures[index].shape == SIZE_HW
        assert (masks.pictures[index] == index * 11 // 256).all()


def test_a_slow_sink_loses_nothing_and_inference_runs_ahead_of_it():
    ahead = threading.Event()
    # Held up behind the sink's frame 0: two in each channel, one in the hands of render.
    segmenter = GatedSegmenter(before={5: ahead.set})
    sink = FakeSink(before={0: lambda: wait(ahead)})
    stats = make_loop(FakeSource(30), segmenter, sink).run()
    assert sink.indices == list(range(30))
    assert stats.frames_in == stats.frames_out == 30


def test_slow_inference_loses_nothing_and_capture_runs_ahead_of_it():
    ahead = threading.Event()
    segmenter = GatedSegmenter(before={0: lambda: wait(ahead)})
    sink = FakeSink()
    stats = make_loop(FakeSource(30, before={3: ahead.set}), segmenter, sink).run()
    assert sink.indices == list(range(30))
    assert stats.dropped == 0


def test_frames_may_change_size():
    sink = FakeSink()
    sizes_hw = {2: (1, 1), 3: (70, 50), 4: (31, 33)}
    segmenter = GatedSegmenter(size_hw=None)
    stats = make_loop(FakeSource(6, sizes_hw=sizes_hw), segmenter, sink).run()
    expected = [SIZE_HW, SIZE_HW, (1, 1), (70, 50), (31, 33), SIZE_HW]
    assert [picture.shape[:2] for picture in sink.pictures] == expected
    assert stats.frames_out == 6


def test_without_a_renderer_only_masks_are_made():
    masks = FakeSink(name="masks")
    stats = VideoLoop(FakeSource(5), GatedSegmenter(), mask_sink=masks).run()
    assert masks.indices == [0, 1, 2, 3, 4]
    assert stats.stages_ms["render"] is None
    assert stats.stages_ms["encode"] is not None


def test_a_sink_needs_a_renderer():
    with pytest.raises(ValueError, match="^a sink or a window needs a renderer$"):
        VideoLoop(FakeSource(1), GatedSegmenter(), sink=FakeSink())


def test_queues_are_shorter_for_large_frames():
    def depth(size_hw):
        return _depth(SourceInfo("", "file", size_hw, None, None, False, None))

    sizes_hw = ((540, 960), (1080, 1920), (2160, 3840), (4320, 7680))
    assert [depth(size_hw) for size_hw in sizes_hw] == [2, 2, 1, 1]
    assert depth(None) == 2


# Live sources: the newest frame wins.


def test_live_inference_takes_the_newest_frame_and_counts_the_others():
    busy, all_read = threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        wait(all_read)

    source = FakeSource(10, kind="live", before={1: lambda: wait(busy), 10: all_read.set})
    sink = FakeSink()
    stats = make_loop(source, GatedSegmenter(before={0: slow}), sink).run()
    assert sink.indices == [0, 9]
    assert (stats.frames_in, stats.frames_out, stats.dropped) == (10, 2, 8)


def test_live_queues_behind_inference_hold_one_frame_each():
    busy, all_read = threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        wait(all_read)

    source = FakeSource(500, kind="live", before={1: lambda: wait(busy), 500: all_read.set})
    sink = FakeSink(before={0: slow})
    stats = make_loop(source, sink=sink).run()
    # Held up behind a sink that is busy with frame 0: one in each of the three channels, and one
    # in the hands of each of render and inference.
    assert len(sink.indices) <= 6
    assert sink.indices[-1] == 499
    assert sink.indices == sorted(sink.indices)
    assert stats.frames_out + stats.dropped == stats.frames_in == 500


def test_statistics_and_progress():
    ticks = count()
    source = FakeSource(12)
    source.frames_lost = 2
    source.warnings.append("2 frames lost")
    sink = FakeSink()
    sink.warnings.append("sound was left out")
    progress = []
    meters = Meters(clock=lambda: float(next(ticks)))
    loop = make_loop(source, sink=sink, meters=meters, on_progress=progress.append)
    stats = loop.run()
    assert (stats.backend, stats.model, stats.size_hw) == ("fake", "fake", SIZE_HW)
    assert stats.warnings == ("2 frames lost", "sound was left out")
    assert stats.frames_lost == 2
    assert set(stats.stages_ms) == set(STAGES)
    assert all(value is not None and value > 0 for value in stats.stages_ms.values())
    assert stats.fps > 0
    assert stats.first_frame_s is not None
    assert stats.latency_ms.p50 is not None
    assert progress[-1].frames_out == progress[-1].frame_count == 12
    assert [meters.capture.times_ms.count, meters.encode.times_ms.count] == [12, 12]


def test_the_renderer_gets_rate_latency_and_backend():
    seen = []
    renderer = WatchedRenderer(lambda _picture, hud: seen.append(hud))
    ticks = count()
    meters = Meters(clock=lambda: next(ticks) * 0.01)
    make_loop(FakeSource(60), sink=FakeSink(), renderer=renderer, meters=meters).run()
    assert math.isnan(seen[0].fps)
    assert seen[-1].fps > 0
    assert {stats.backend for stats in seen} == {"fake"}
    assert len({id(stats) for stats in seen}) < len(seen), "digits must stand long enough to read"


def test_the_thread_that_draws_loads_the_font_before_its_first_picture(monkeypatch):
    """OpenCV 5 loads it anew in each thread."""
    done = []
    monkeypatch.setattr(
        "roadseg.render.renderer.load_font",
        lambda size_hw: done.append((size_hw, threading.current_thread().name)),
    )
    with Segmenter(backend="fake") as segmenter:
        for renderer in (Renderer(hud=True, legend=False), Renderer(hud=False, legend=False)):
            VideoLoop(FakeSource(2), segmenter, renderer, sink=FakeSink()).run()
    assert done == [(SIZE_HW, "roadseg-render")], "once, and not where nothing is written"


def test_read_outs_follow_the_video_and_not_the_clock():
    seen = []
    renderer = WatchedRenderer(lambda _picture, hud: seen.append(hud))
    # Frames are worked on in no time at all, and play for 25 in a second.
    meters = Meters(clock=lambda: 0.0)
    source = FakeSource(60)
    make_loop(source, sink=FakeSink(), renderer=renderer, meters=meters).run()
    assert 60 / 25 / 0.25 - 1 <= len({id(stats) for stats in seen}) <= 60 / 25 / 0.25 + 1


# Whether it keeps up.


class Watching:
    """Stands for `watch_pace`, and for what it gives."""

    def __init__(self) -> None:
        self.looked_at: bool | None = None
        self.frames = 0

    def __call__(self, segmenter, info, clock, *, looked_at):
        self.looked_at = looked_at
        return self

    def after_frame(self, dropped: int) -> None:
        self.frames += 1


def test_every_frame_is_watched_and_what_is_written_is_not_only_looked_at(monkeypatch):
    for sink in (None, FakeSink()):
        watching = Watching()
        monkeypatch.setattr("roadseg.video.loop.watch_pace", watching)
        with Segmenter(backend="fake") as segmenter:
            renderer = None if sink is None else Renderer()
            stats = VideoLoop(FakeSource(5), segmenter, renderer, sink=sink).run()
        assert (watching.frames, watching.looked_at) == (5, False)
        assert stats.auto is None


def test_a_film_in_a_window_is_looked_at(monkeypatch):
    watching = Watching()
    monkeypatch.setattr("roadseg.video.loop.watch_pace", watching)
    with Segmenter(backend="fake") as segmenter:
        monkeypatch.setattr(segmenter, "how_chosen", lambda: {"model": "x"})
        stats = VideoLoop(FakeSource(5), segmenter, Renderer(), window=FakeWindow()).run()
    assert watching.looked_at is True
    assert stats.auto == {"model": "x"}
    assert stats.to_json()["auto"] == {"model": "x"}
