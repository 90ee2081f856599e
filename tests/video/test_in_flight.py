"""The video loop with a backend that works on several frames at once."""

from __future__ import annotations

import threading
from itertools import count

import numpy as np
import pytest

from roadseg.backends.fake import FakePipelinedBackend
from roadseg.core.errors import BackendError, SinkError
from roadseg.loading.segmenter import Segmenter
from roadseg.video.meters import Meters
from tests.support.video import (
    SIZE_HW,
    FakeSink,
    FakeSource,
    fail_with,
    interrupt,
    make_loop,
    wait,
)

pytestmark = pytest.mark.usefixtures("as_typed", "no_thread_left")


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
