"""Every way in which the video loop ends: a failure in each thread, Ctrl-C, a closed window."""

from __future__ import annotations

import threading
import traceback
from pathlib import Path

import pytest

from roadseg.core.errors import BackendError, SinkError, SourceError, UsageError
from roadseg.render import Renderer
from roadseg.video.loop import VideoLoop
from tests.support.video import (
    FakeSink,
    FakeSource,
    FakeWindow,
    GatedSegmenter,
    WatchedRenderer,
    fail_with,
    interrupt,
    make_loop,
    wait,
)

pytestmark = pytest.mark.usefixtures("as_typed", "no_thread_left")


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
    def look(image_bgr, _hud):
        if image_bgr[0, 0, 0] == 4:
            raise ZeroDivisionError("a bug")

    sink = FakeSink()
    with pytest.raises(ZeroDivisionError, match="^a bug$"):
        make_loop(FakeSource(None), sink=sink, renderer=WatchedRenderer(look)).run()
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
    with pytest.raises(
        SourceError, match="^no frame could be read from fake: check that a player shows it$"
    ):
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
