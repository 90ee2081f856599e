"""The video loop: frame accounting, threads that overlap, and every way to stop.

Nothing here waits for the clock: fakes block on events until what the test is about has happened.
"""

from __future__ import annotations

import faulthandler
import math
import os
import signal
import threading
import traceback
from fractions import Fraction
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.fake import FakePipelinedBackend
from roadseg.core.errors import BackendError, SinkError, SourceError, UsageError
from roadseg.core.types import Frame
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.base import SourceInfo
from roadseg.render import Renderer
from roadseg.video.loop import VideoLoop, _depth
from roadseg.video.meters import STAGES, Meters

pytestmark = pytest.mark.usefixtures("as_typed")

PATIENCE_S = 30.0  # only a failing test waits that long
SIZE_HW = (32, 64)


@pytest.fixture(autouse=True)
def _no_thread_left():
    before = set(threading.enumerate())
    faulthandler.dump_traceback_later(4 * PATIENCE_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert [t.name for t in threading.enumerate() if t not in before] == []


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


def make_loop(source, segmenter=None, sink=None, renderer=None, **kwargs) -> VideoLoop:
    return VideoLoop(
        source,
        segmenter or GatedSegmenter(),
        renderer or Renderer(hud=False, legend=False),
        sink=sink,
        **kwargs,
    )


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


# A backend with several frames in flight.


class PipelinedSegmenter(Segmenter):
    """The pipelined fake; `before_submit[n]` and `before_collect[n]` run before the n-th call.

    Attributes:
        calls: `("submit", n)` and `("collect", n)` in their order.
    """

    def __init__(self, before_submit=None, before_collect=None, size_hw=SIZE_HW) -> None:
        super().__init__(backend="fake", size_hw=size_hw)
        self.calls: list[tuple[str, int]] = []
        self._before = {"submit": before_submit or {}, "collect": before_collect or {}}
        self._counts = {"submit": 0, "collect": 0}

    def submit(self, network_bgr):
        self._note("submit")
        super().submit(network_bgr)

    def collect(self):
        self._note("collect")
        return super().collect()

    def discard(self):
        self._before["collect"] = {}
        super().discard()

    def _note(self, call: str) -> None:
        number = self._counts[call]
        self._counts[call] += 1
        self.calls.append((call, number))
        if number in self._before[call]:
            self._before[call][number]()


@pytest.fixture
def pipelined(monkeypatch):
    monkeypatch.setattr(
        "roadseg.loading.choice.Choice.open",
        lambda choice, hw, **_options: FakePipelinedBackend(hw),
    )


@pytest.mark.parametrize("frames", [1, 2, 3, 57])
def test_frames_in_flight_come_out_in_order_and_complete(frames, pipelined):
    sink, masks = FakeSink(), FakeSink(name="masks")
    segmenter = PipelinedSegmenter()
    stats = make_loop(FakeSource(frames), segmenter, sink, mask_sink=masks).run()
    assert sink.indices == masks.indices == list(range(frames))
    for index in range(frames):
        assert (masks.pictures[index] == index * 11 // 256).all()
    assert (stats.frames_in, stats.frames_out, stats.dropped) == (frames, frames, 0)
    assert [n for call, n in segmenter.calls if call == "collect"] == list(range(frames))
    assert stats.stages_ms["infer"] is not None


def test_the_next_frame_is_submitted_before_the_last_one_is_collected(pipelined):
    # Everything that the channel holds has been read before inference begins.
    queued = threading.Event()
    segmenter = PipelinedSegmenter(before_submit={0: lambda: wait(queued)})
    source = FakeSource(3, before={3: queued.set})
    make_loop(source, segmenter, FakeSink()).run()
    assert segmenter.calls == [
        ("submit", 0),
        ("submit", 1),
        ("collect", 0),
        ("submit", 2),
        ("collect", 1),
        ("collect", 2),
    ]


def test_a_frame_does_not_wait_for_the_next_one(pipelined):
    delivered = threading.Event()
    sink = FakeSink(before={0: delivered.set})
    # Frame 1 is not read before frame 0 has come out at the other end.
    source = FakeSource(2, before={1: lambda: wait(delivered)})
    make_loop(source, PipelinedSegmenter(), sink).run()
    assert sink.indices == [0, 1]


def test_live_frames_are_in_flight_one_at_a_time(pipelined):
    busy, queued = threading.Event(), threading.Event()

    def slow() -> None:
        busy.set()
        wait(queued)  # now another frame is at hand

    segmenter = PipelinedSegmenter(before_submit={0: slow})
    source = FakeSource(3, kind="live", before={1: lambda: wait(busy), 3: queued.set})
    stats = make_loop(source, segmenter, FakeSink()).run()
    assert stats.frames_out == 2
    assert [call for call, _n in segmenter.calls] == ["submit", "collect"] * 2


def test_frames_in_flight_keep_their_own_geometry(pipelined):
    sink, masks = FakeSink(), FakeSink(name="masks")
    sizes_hw = {2: (1, 1), 3: (70, 50), 4: (31, 33), 5: (62, 66), 6: (32, 32)}
    segmenter = PipelinedSegmenter(size_hw=None)
    make_loop(FakeSource(8, sizes_hw=sizes_hw), segmenter, sink, mask_sink=masks).run()
    expected = [sizes_hw.get(index, SIZE_HW) for index in range(8)]
    assert [picture.shape[:2] for picture in sink.pictures] == expected
    assert [mask.shape for mask in masks.pictures] == expected
    assert masks.indices == list(range(8))


def test_a_network_of_another_size_waits_until_nothing_is_in_flight(pipelined):
    queued = threading.Event()
    segmenter = PipelinedSegmenter(before_submit={0: lambda: wait(queued)}, size_hw=None)
    source = FakeSource(3, before={3: queued.set}, sizes_hw={1: (64, 32)})
    make_loop(source, segmenter, FakeSink()).run()
    assert [call for call, _n in segmenter.calls] == ["submit", "collect"] * 3


def test_a_submission_that_fails_delivers_the_frames_before_it(pipelined):
    sink = FakeSink()
    error = BackendError("upload failed")
    segmenter = PipelinedSegmenter(before_submit={3: fail_with(error)})
    with pytest.raises(BackendError, match="^upload failed$") as caught:
        make_loop(FakeSource(None), segmenter, sink).run()
    assert caught.value is error
    assert sink.indices == [0, 1, 2]
    assert sink.closed == [True]
    assert not segmenter._in_flight


def test_a_collection_that_fails_keeps_what_came_before_and_leaves_nothing_in_flight(pipelined):
    sink = FakeSink()
    segmenter = PipelinedSegmenter(before_collect={3: fail_with(BackendError("GPU lost"))})
    with pytest.raises(BackendError, match="^GPU lost$"):
        make_loop(FakeSource(None), segmenter, sink).run()
    assert sink.indices == [0, 1, 2]
    assert not segmenter._in_flight


def test_ctrl_c_delivers_what_is_in_flight(pipelined):
    sink = FakeSink()
    loop = make_loop(FakeSource(None, before={20: interrupt}), PipelinedSegmenter(), sink)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert loop.stats().frames_in == loop.stats().frames_out == len(sink.indices)
    assert sink.indices == list(range(len(sink.indices)))


def test_a_sink_that_fails_leaves_nothing_in_flight(pipelined):
    sink = FakeSink(before={5: fail_with(SinkError("disk full"))})
    segmenter = PipelinedSegmenter()
    with pytest.raises(SinkError, match="^disk full$"):
        make_loop(FakeSource(None), segmenter, sink).run()
    assert not segmenter._in_flight
    assert (segmenter.infer(np.zeros((*SIZE_HW, 3), np.uint8)) == 0).all()


def test_time_between_submission_and_collection_is_not_inference(pipelined):
    ticks = count()
    meters = Meters(clock=lambda: float(next(ticks)))
    queued = threading.Event()
    segmenter = PipelinedSegmenter(before_submit={0: lambda: wait(queued)})
    make_loop(FakeSource(3, before={3: queued.set}), segmenter, FakeSink(), meters=meters).run()
    assert meters.infer.times_ms.count == 3


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


# A failure in each thread.


def boom_frames(traceback_of: BaseException) -> list[str]:
    return [entry.name for entry in traceback.extract_tb(traceback_of.__traceback__)]


def test_a_failing_source_keeps_what_was_read():
    sink = FakeSink()
    error = SourceError("camera unplugged")
    loop = make_loop(FakeSource(None, before={7: fail_with(error)}), sink=sink)
    with pytest.raises(SourceError, match="^camera unplugged$") as caught:
        loop.run()
    assert caught.value is error
    assert "fail" in boom_frames(caught.value), "the traceback must lead to where it happened"
    assert sink.indices == list(range(7))
    assert sink.closed == [True]
    assert loop.outputs.written == [Path("out.mp4")]


def test_a_failing_backend_keeps_what_was_segmented():
    sink = FakeSink()
    segmenter = GatedSegmenter(before={3: fail_with(BackendError("out of memory"))})
    with pytest.raises(BackendError, match="^out of memory$"):
        make_loop(FakeSource(None), segmenter, sink).run()
    assert sink.indices == [0, 1, 2]
    assert sink.closed == [True]


def test_a_failing_renderer_keeps_what_was_rendered():
    renderer = Renderer(hud=False, legend=False)

    def render(image_bgr, label_map, hud, left_out):
        if image_bgr[0, 0, 0] == 4:
            raise ZeroDivisionError("a bug")
        return renderer(image_bgr, label_map, hud)

    sink = FakeSink()
    with pytest.raises(ZeroDivisionError, match="^a bug$"):
        make_loop(FakeSource(None), sink=sink, renderer=render).run()
    assert sink.indices == [0, 1, 2, 3]
    assert sink.closed == [True]


def test_a_failing_sink_is_closed_as_failed():
    sink, masks = FakeSink(before={5: fail_with(SinkError("disk full"))}), FakeSink(name="masks")
    loop = make_loop(FakeSource(None), sink=sink, mask_sink=masks)
    with pytest.raises(SinkError, match="^disk full$"):
        loop.run()
    assert sink.closed == [False]
    assert masks.closed == [True]
    assert loop.outputs.written == [Path("masks")]


def test_failing_masks_leave_the_video_alone():
    sink, masks = FakeSink(), FakeSink(before={5: fail_with(SinkError("disk full"))}, name="masks")
    with pytest.raises(SinkError, match="^disk full$"):
        make_loop(FakeSource(None), sink=sink, mask_sink=masks).run()
    assert sink.closed == [True]
    assert masks.closed == [False]
    assert sink.indices == [0, 1, 2, 3, 4, 5]


def test_a_sink_that_cannot_be_finished():
    sink = FakeSink(close_error=SinkError("disk full at the end"))
    masks = FakeSink(name="masks")
    loop = make_loop(FakeSource(3), sink=sink, mask_sink=masks)
    with pytest.raises(SinkError, match="^disk full at the end$"):
        loop.run()
    assert masks.closed == [True]
    assert loop.outputs.written == [Path("masks")]


def test_the_first_error_is_the_one_that_is_raised():
    first = SinkError("first")
    sink = FakeSink(before={0: fail_with(first)}, close_error=SinkError("while closing"))
    with pytest.raises(SinkError, match="^first$") as caught:
        make_loop(FakeSource(None), sink=sink).run()
    assert caught.value is first


def test_a_source_that_fails_at_once_leaves_no_file():
    sink = FakeSink()
    loop = make_loop(FakeSource(3, before={0: fail_with(SourceError("not a video"))}), sink=sink)
    with pytest.raises(SourceError, match="^not a video$"):
        loop.run()
    assert sink.closed == [False]
    assert loop.outputs.written == []


def test_a_source_without_frames():
    sink = FakeSink()
    with pytest.raises(SourceError, match="^no frame could be read from fake$"):
        make_loop(FakeSource(0), sink=sink).run()
    assert sink.closed == [False]


def test_a_stage_that_raises_stop_iteration_does_not_end_quietly():
    segmenter = GatedSegmenter(before={2: fail_with(StopIteration())})
    with pytest.raises(RuntimeError, match="StopIteration"):
        make_loop(FakeSource(None), segmenter, FakeSink()).run()


def test_a_failing_progress_callback_stops_the_run():
    sink = FakeSink()
    loop = make_loop(FakeSource(None), sink=sink, on_progress=lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert sink.indices == list(range(len(sink.indices)))


# Ctrl-C, windows, stop().


def test_ctrl_c_delivers_what_was_read():
    sink = FakeSink()
    loop = make_loop(FakeSource(None, before={20: interrupt}), sink=sink)
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    stats = loop.stats()
    assert stats.frames_in == stats.frames_out == len(sink.indices) > 0
    assert sink.indices == list(range(len(sink.indices)))
    assert sink.closed == [True]


class ObservedLoop(VideoLoop):
    """Tells the fakes how far the main thread has come."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.has_stopped = threading.Event()
        self.has_abandoned = threading.Event()

    def stop(self) -> None:
        super().stop()
        self.has_stopped.set()

    def _abandon(self) -> None:
        super()._abandon()
        self.has_abandoned.set()


def test_ctrl_c_reaches_a_run_whose_sink_is_stuck_and_everything_read_is_kept():
    sink = FakeSink(before={0: lambda: (interrupt(), wait(loop.has_stopped))})
    loop = ObservedLoop(
        FakeSource(None), GatedSegmenter(), Renderer(hud=False, legend=False), sink=sink
    )
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert loop.stats().frames_in == loop.stats().frames_out == len(sink.indices)
    assert sink.closed == [True]


def test_a_second_ctrl_c_gives_up_the_queues_and_still_finalises():
    def twice() -> None:
        interrupt()
        wait(loop.has_stopped)
        interrupt()
        wait(loop.has_abandoned)

    sink = FakeSink(before={0: twice})
    loop = ObservedLoop(
        FakeSource(None), GatedSegmenter(), Renderer(hud=False, legend=False), sink=sink
    )
    with pytest.raises(KeyboardInterrupt):
        loop.run()
    assert sink.indices == [0]
    assert sink.closed == [True]


def test_ctrl_c_does_not_wait_for_a_camera_to_finish_the_file():
    closed = threading.Event()

    class Sink(FakeSink):
        def close(self, *, ok: bool) -> None:
            super().close(ok=ok)
            closed.set()

    def hang() -> None:
        interrupt()
        wait(closed)  # the camera delivers nothing until the file is complete

    sink = Sink()
    with pytest.raises(KeyboardInterrupt):
        make_loop(FakeSource(None, kind="live", before={3: hang}), sink=sink).run()
    assert sink.closed == [True]


def test_a_closed_window_ends_the_run_without_error():
    sink, window = FakeSink(), FakeWindow(closed_at=3)
    stats = make_loop(FakeSource(None), sink=sink, window=window).run()
    assert window.shown == 3
    assert window.threads == {threading.main_thread()}
    assert sink.indices == list(range(stats.frames_in))
    assert sink.closed == [True]


def test_a_window_alone_is_enough():
    window = FakeWindow()
    stats = make_loop(FakeSource(10), window=window).run()
    assert stats.frames_out == 10
    assert window.shown >= 1
    assert stats.stages_ms["encode"] is None


def test_a_failing_window_ends_the_run():
    sink = FakeSink()
    window = FakeWindow(error=UsageError("cannot show a window: gone", fix="use --no-show"))
    with pytest.raises(UsageError, match="^cannot show a window: gone: use --no-show$"):
        make_loop(FakeSource(None), sink=sink, window=window).run()
    assert sink.indices == list(range(len(sink.indices)))
    assert sink.closed == [True]


def test_stop_from_another_thread():
    sink = FakeSink(before={10: lambda: loop.stop()})
    loop = make_loop(FakeSource(None), sink=sink)
    stats = loop.run()
    assert stats.frames_in == stats.frames_out >= 11


def test_stopped_before_the_first_frame_is_no_error():
    loop = make_loop(FakeSource(None), sink=FakeSink())
    loop.stop()
    assert loop.run().frames_out == 0


def test_a_thread_that_cannot_start_does_not_hang_the_others(monkeypatch):
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "roadseg-render":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    sink = FakeSink()
    with pytest.raises(RuntimeError, match="^can't start new thread$"):
        make_loop(FakeSource(None), sink=sink).run()


# What is reported.


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
    renderer = Renderer(hud=False, legend=False)

    def render(image_bgr, label_map, hud, left_out):
        seen.append(hud)
        return renderer(image_bgr, label_map, hud)

    ticks = count()
    meters = Meters(clock=lambda: next(ticks) * 0.01)
    make_loop(FakeSource(60), sink=FakeSink(), renderer=render, meters=meters).run()
    assert math.isnan(seen[0].fps)
    assert seen[-1].fps > 0
    assert {stats.backend for stats in seen} == {"fake"}
    assert len({id(stats) for stats in seen}) < len(seen), "digits must stand long enough to read"


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
