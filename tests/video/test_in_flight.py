"""The video loop with a backend that works on several frames at once."""

from __future__ import annotations

import threading
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from roadseg.backends.fake import FakePipelinedBackend
from roadseg.backends.openvino.pipelined import OpenVinoPipelinedBackend
from roadseg.core.backend import PipelinedBackend
from roadseg.core.errors import BackendError, SinkError
from roadseg.loading.choice import Choice
from roadseg.loading.segmenter import Segmenter
from roadseg.run.video import RunOptions, open_loop
from roadseg.video.meters import Meters
from tests.support.clips import write_clip
from tests.support.planes import natural
from tests.support.video import (
    SIZE_HW,
    FakeSink,
    FakeSource,
    FakeWindow,
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


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("frames", [1, 2, 3, 57])
def test_frames_in_flight_come_out_in_order_and_complete(frames, every, pipelined):
    sink, masks = FakeSink(), FakeSink(name="masks")
    segmenter = PipelinedSegmenter()
    loop = make_loop(FakeSource(frames), segmenter, sink, mask_sink=masks, every=every)
    stats = loop.run()
    if every > 1:
        assert len(segmenter.calls) // 2 == -(-(frames - 1) // every) + 1
        assert sink.indices == masks.indices == list(range(frames))
        return
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


def test_with_labels_that_are_reused_the_next_frame_is_submitted_before_the_last_is_collected(
    pipelined,
):
    queued = threading.Event()
    segmenter = PipelinedSegmenter(before_submit={0: lambda: wait(queued)})
    source = FakeSource(3, before={3: queued.set})
    make_loop(source, segmenter, FakeSink(), every=2).run()
    assert segmenter.calls == [("submit", 0), ("submit", 1), ("collect", 0), ("collect", 1)]


@pytest.mark.parametrize("every", [1, 2])
def test_a_film_is_segmented_in_flight_as_one_frame_at_a_time(
    every, xml_file, tmp_path, monkeypatch
):
    """The real network: its labels are the same bytes either way."""
    opened = []
    really = Choice.open

    def open_backend(choice, network_hw, **options):
        backend = really(replace(choice, throughput=together), network_hw, **options)
        opened.append((choice.throughput, isinstance(backend, PipelinedBackend)))
        return backend

    monkeypatch.setattr(Choice, "open", open_backend)
    picture = natural((64, 96))
    images = [np.roll(picture, 3 * i, axis=1) for i in range(12)]
    clip = write_clip(tmp_path / "clip.mp4", images=images)
    masks = []
    for together in (True, False):
        folder = tmp_path / f"masks-{together}"
        options = RunOptions(
            str(clip),
            model=str(xml_file),
            threads=2,
            size_hw=(64, 96),
            save_masks=folder,
            reuse=every,
        )
        with open_loop(options) as loop:
            assert loop.run().frames_out == 12
        masks.append([path.read_bytes() for path in sorted(folder.glob("*.png"))])
    assert opened == [(True, True), (True, False)], "a film asks for throughput"
    assert len(masks[0]) == 12
    assert masks[0] == masks[1]


def test_a_request_that_fails_ends_the_run_after_the_frames_before_it(
    xml_file, tmp_path, monkeypatch
):
    waits = count()
    wait_for = OpenVinoPipelinedBackend._finish_oldest

    def finish(self):
        frame = self._in_flight[0]
        wait_for(self)
        if next(waits) == 4:
            frame.batch.error = BackendError("out of memory")

    monkeypatch.setattr(OpenVinoPipelinedBackend, "_finish_oldest", finish)
    masks = tmp_path / "masks"
    clip = write_clip(tmp_path / "clip.mp4", images=[natural((64, 96))] * 9)
    size = {"size_hw": (64, 96), "threads": 2}
    with (
        open_loop(RunOptions(str(clip), model=str(xml_file), save_masks=masks, **size)) as loop,
        pytest.raises(BackendError, match="^out of memory$"),
    ):
        loop.run()
    assert len(list(masks.glob("*.png"))) == 4
    assert not loop.segmenter._in_flight


def test_a_film_that_is_only_looked_at_steps_down_with_frames_in_flight(pipelined, monkeypatch):
    monkeypatch.setattr("roadseg.video.keeping_up._PERIOD_S", 0.0)
    segmenter = PipelinedSegmenter(size_hw=None)
    steps = []

    def step_down():
        steps.append(len(segmenter._in_flight))
        return super(PipelinedSegmenter, segmenter).step_down()

    segmenter.step_down = step_down
    window = FakeWindow()
    stats = make_loop(FakeSource(40), segmenter, window=window, meters=slow_meters()).run()
    assert stats.frames_out == 40
    assert max(steps) > 0


def slow_meters() -> Meters:
    ticks = count()
    return Meters(clock=lambda: float(next(ticks)))


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
