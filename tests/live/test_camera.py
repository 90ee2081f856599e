"""The supervisor: states, reasons, back-off, and readers that never return."""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
from collections.abc import Callable, Iterator

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SourceError, UsageError
from roadseg.core.types import Frame
from roadseg.live.camera import Camera
from roadseg.live.config import SourceConfig
from roadseg.live.events import CameraState, LossReason, StateChange
from roadseg.live.mailbox import Mailbox
from roadseg.live.pace import Backoff
from roadseg.live.reader import CameraListener
from tests.support.live import PATIENCE_S, FakeClock, FakeSource, eventually, make_frame

SECRET = "hunter2"
CONFIG = SourceConfig("front", f"rtsp://admin:{SECRET}@cam/1", timeout=10, stall_timeout=2)


class Listener(CameraListener):
    def __init__(self) -> None:
        self.changes: queue.Queue[StateChange] = queue.Queue()
        self.frames: list[Frame] = []

    def changed(self, change: StateChange) -> None:
        self.changes.put(change)

    def arrived(self, frame: Frame) -> None:
        self.frames.append(frame)

    def next(self) -> StateChange:
        return self.changes.get(timeout=PATIENCE_S)

    def states(self, count: int) -> list[str]:
        return [self.next().state.value for _ in range(count)]


class Stage:
    """A camera whose connections a test leads one by one."""

    def __init__(self, clock: FakeClock, config: SourceConfig = CONFIG) -> None:
        self.clock = clock
        self.listener = Listener()
        self.mailbox = Mailbox(clock=clock)
        self.sources: queue.Queue[FakeSource | BaseException] = queue.Queue()
        self.errors: list[BaseException] = []
        self.opened: list[SourceConfig] = []
        self.camera = Camera(
            config,
            self.mailbox,
            self.listener,
            opener=self._open,
            on_error=self.errors.append,
            clock=clock,
            backoff=Backoff(1, 30, jitter=0, chance=random.Random(0)),
        )

    def _open(self, config: SourceConfig) -> FakeSource:
        self.opened.append(config)
        source = self.sources.get()
        if isinstance(source, BaseException):
            raise source
        return source

    def comes(self, source: FakeSource | BaseException) -> FakeSource | BaseException:
        self.sources.put(source)
        return source

    def frame(self, index: int = 0) -> Frame:
        return make_frame(index, self.clock())


@pytest.fixture
def stage(clock: FakeClock, no_thread_left: None) -> Iterator[Callable[..., Stage]]:
    stages: list[Stage] = []

    def make(config: SourceConfig = CONFIG) -> Stage:
        stages.append(Stage(clock, config))
        return stages[-1]

    yield make
    for each in stages:
        each.camera.stop()
        clock.advance(1000)  # nobody waits for a reader that is stuck
        each.comes(SourceError("the test is over"))
        assert each.camera.join(PATIENCE_S)


def test_a_camera_connects_and_delivers(stage: Callable[..., Stage]) -> None:
    s = stage()
    source = FakeSource().feed(s.frame())
    s.comes(source)
    s.camera.start()
    assert s.listener.states(2) == ["connecting", "live"]
    frame = s.mailbox.get()
    assert frame is not None
    assert not s.mailbox.every
    s.camera.stop()
    source.feed(s.frame(1))
    assert source.closed.wait(PATIENCE_S)
    assert s.camera.join(PATIENCE_S)
    assert s.mailbox.closed
    assert s.mailbox.tally.read == 1


def test_a_lost_camera_comes_back_after_waiting(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    s.comes(FakeSource().feed(s.frame(), SourceError("lost it: ended")))
    s.camera.start()
    assert s.listener.states(3) == ["connecting", "live", "lost"]
    waiting = s.listener.next()
    assert (waiting.state, waiting.reason, waiting.retry_s) == (
        CameraState.WAITING,
        LossReason.ENDED,
        1.0,
    )
    assert len(s.opened) == 1
    back = FakeSource(size_hw=(96, 128))
    back.feed(s.frame())
    s.comes(back)
    clock.advance(1.0)
    assert s.listener.states(2) == ["connecting", "live"]
    assert s.camera.info is back.info
    assert s.camera.connects == 2
    back.feed(SourceError("over"))


def test_each_loss_waits_longer_until_a_connection_holds(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    s.camera.start()
    waits: list[float | None] = []
    for lasts_s in (0, 0, 5, 11, 0):
        source = FakeSource().feed(s.frame())
        s.comes(source)
        assert s.listener.states(2) == ["connecting", "live"]
        clock.advance(lasts_s / 10)
        for _ in range(9):  # never silent for long
            source.feed(s.frame(1))
            source.reading.clear()
            assert source.reading.wait(PATIENCE_S)
            clock.advance(lasts_s / 10)
        source.feed(SourceError("gone"))
        assert s.listener.next().state is CameraState.LOST
        waits.append(s.listener.next().retry_s)
        clock.advance(30)
    assert waits == [1, 2, 4, 1, 2]


def test_a_source_that_is_down_at_the_start_is_tried_again(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    error = SourceError(f"cannot open rtsp://admin:{SECRET}@cam/1: connection refused")
    error.__cause__ = ConnectionRefusedError(111, "refused")
    s.comes(error)
    s.camera.start()
    assert s.listener.next().state is CameraState.CONNECTING
    lost = s.listener.next()
    assert (lost.state, lost.reason) == (CameraState.LOST, LossReason.REFUSED)
    assert SECRET not in str(lost)
    assert "rtsp://***@cam/1" in lost.message
    assert s.listener.next().state is CameraState.WAITING
    source = FakeSource().feed(s.frame())
    s.comes(source)
    clock.advance(1)
    assert s.listener.states(2) == ["connecting", "live"]
    source.feed(SourceError("over"))


def test_a_silent_camera_is_stalled_and_live_again_with_its_next_frame(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    source = FakeSource().feed(s.frame())
    s.comes(source)
    s.camera.start()
    assert s.listener.states(2) == ["connecting", "live"]
    eventually(lambda: len(s.listener.frames) == 1)
    clock.advance(1.9)
    assert s.listener.changes.empty()
    clock.advance(0.2)
    assert s.listener.next().state is CameraState.STALLED
    source.feed(s.frame(1))
    assert s.listener.next().state is CameraState.LIVE
    source.feed(SourceError("over"))


def test_a_file_that_plays_is_not_silent_before_its_next_picture_is_due(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    source = FakeSource().feed(s.frame())
    source.due_s = clock() + 60
    s.comes(source)
    s.camera.start()
    assert s.listener.states(2) == ["connecting", "live"]
    eventually(lambda: len(s.listener.frames) == 1)
    for _ in range(3):
        clock.advance(20.0)
    clock.advance(2.1)
    stalled = s.listener.next()
    assert stalled.state is CameraState.STALLED
    assert stalled.time_s > source.due_s + 2
    source.feed(SourceError("over"))


def test_pictures_that_are_to_stand_long_are_waited_for(tmp_path) -> None:
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((8, 8, 3), index * 80, np.uint8))
    config = SourceConfig(
        "slides", str(tmp_path), policy="latest", fps=0.8, timeout=0.7, stall_timeout=0.6
    )
    listener = Listener()
    camera = Camera(config, Mailbox(), listener)
    camera.start()
    eventually(lambda: len(listener.frames) == 3)
    camera.join(PATIENCE_S)
    assert camera.connects == 1
    assert [frame.index for frame in listener.frames] == [0, 1, 2]


def test_a_reader_that_never_returns_is_left_behind_and_replaced(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    stuck = FakeSource().feed(s.frame())
    s.comes(stuck)
    s.camera.start()
    assert s.listener.states(2) == ["connecting", "live"]
    eventually(lambda: len(s.listener.frames) == 1)
    clock.advance(2.1)
    assert s.listener.next().state is CameraState.STALLED
    clock.advance(13)
    lost = s.listener.next()
    assert (lost.state, lost.reason) == (CameraState.LOST, LossReason.TIMEOUT)
    assert not stuck.closed.is_set()  # closing it under its reader could crash the process
    assert s.listener.next().state is CameraState.WAITING
    assert s.camera.stuck == 1
    fresh = FakeSource().feed(s.frame())
    s.comes(fresh)
    clock.advance(1)
    assert s.listener.states(2) == ["connecting", "live"]
    eventually(lambda: len(s.listener.frames) == 2)
    # It comes back after all: what it brings is ignored, and its source is closed.
    stuck.feed(s.frame(7))
    assert stuck.closed.wait(PATIENCE_S)
    eventually(lambda: s.camera.stuck == 0)
    assert len(s.listener.frames) == 2
    assert s.mailbox.tally.read == 2
    fresh.feed(SourceError("over"))


def test_opening_that_never_returns_is_left_behind(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    s.camera.start()
    assert s.listener.next().state is CameraState.CONNECTING
    eventually(lambda: len(s.opened) == 1)
    clock.advance(15.1)
    assert s.listener.states(2) == ["lost", "waiting"]
    clock.advance(1)
    assert s.listener.next().state is CameraState.CONNECTING
    eventually(lambda: len(s.opened) == 2)
    # Whichever of the two gets it: the first one gives it back at once.
    for _ in range(2):
        s.comes(FakeSource().feed(s.frame(), SourceError("over")))
    assert s.listener.next().state is CameraState.LIVE


def test_no_more_than_four_readers_are_left_behind(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    s.camera.start()
    for i in range(4):
        assert s.listener.next().state is CameraState.CONNECTING
        eventually(lambda count=i + 1: len(s.opened) == count)  # type: ignore[misc]
        clock.advance(15.1)
        assert s.listener.states(2) == ["lost", "waiting"]
        clock.advance(30)
    full = s.listener.next()
    assert full.state is CameraState.WAITING
    assert "do not return" in full.message
    assert s.camera.stuck == 4
    clock.advance(1000)
    assert len(s.opened) == 4
    s.comes(SourceError("one returns"))
    assert s.listener.next().state is CameraState.CONNECTING
    for _ in range(4):
        s.comes(SourceError("the others as well"))
    eventually(lambda: s.camera.stuck == 0)


def test_a_file_ends_and_its_mailbox_with_it(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    s = stage(SourceConfig("clip", "clip.mp4"))
    s.comes(FakeSource("file").feed(s.frame(0), None))
    caplog.set_level(logging.INFO, "roadseg.live")
    s.camera.start()
    frame = s.mailbox.get()
    assert frame is not None
    assert s.mailbox.every
    assert s.listener.states(3) == ["connecting", "live", "lost"]
    assert s.camera.ended.wait(PATIENCE_S)
    assert s.mailbox.finished
    assert s.camera.last is not None
    assert s.camera.last.reason is LossReason.ENDED
    assert {record.levelname for record in caplog.records} == {"INFO"}, "files end"


def test_a_missing_file_is_not_waited_for(stage: Callable[..., Stage]) -> None:
    s = stage(SourceConfig("clip", "no/such.mp4"))
    s.comes(SourceError("no such file: no/such.mp4"))
    s.camera.start()
    assert s.camera.ended.wait(PATIENCE_S)
    assert s.listener.next().state is CameraState.CONNECTING
    assert s.listener.next().reason is LossReason.NOT_FOUND


@pytest.mark.parametrize(
    ("kind", "policy", "every"),
    [
        ("live", "auto", False),
        ("file", "auto", True),
        ("images", "auto", True),
        ("live", "every", True),
        ("file", "latest", False),
    ],
)
def test_the_policy_follows_the_kind_of_source_unless_given(
    stage: Callable[..., Stage], kind: str, policy: str, every: bool
) -> None:
    s = stage(SourceConfig("a", "a.mp4", policy=policy))  # type: ignore[arg-type]
    s.comes(FakeSource(kind).feed(s.frame(), SourceError("over")))
    s.camera.start()
    assert s.mailbox.get() is not None
    assert s.mailbox.every is every


def test_a_file_that_waits_for_the_network_is_not_stalled(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage(SourceConfig("clip", "clip.mp4"))
    s.comes(FakeSource("file").feed(s.frame(0), s.frame(1), s.frame(2), None))
    s.camera.start()
    assert s.listener.states(2) == ["connecting", "live"]
    eventually(lambda: len(s.listener.frames) == 2)  # one in the mailbox, one in front of it
    clock.advance(500)
    assert [f.index for f in iter(s.mailbox.get, None)] == [0, 1, 2]
    assert s.listener.next().state is CameraState.LOST


def test_numbers_and_times_go_on_over_connections(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    s.comes(FakeSource().feed(s.frame(0), s.frame(1), SourceError("gone")))
    s.camera.start()
    assert s.listener.states(4) == ["connecting", "live", "lost", "waiting"]
    clock.advance(60)
    s.comes(FakeSource().feed(s.frame(0), s.frame(1), SourceError("gone")))
    assert s.listener.states(4) == ["connecting", "live", "lost", "waiting"]
    assert [f.index for f in s.listener.frames] == [0, 1, 2, 3]
    times_s = [round(f.time_s, 3) for f in s.listener.frames]
    assert times_s == [0, 0.04, 60, 60.04]


def test_stride_and_damage_are_accounted_for(stage: Callable[..., Stage]) -> None:
    s = stage(SourceConfig("clip", "clip.mp4", stride=2))
    source = FakeSource("file")
    source.frames_lost = 3
    s.comes(source.feed(*(s.frame(i) for i in range(5)), None))
    s.camera.start()
    assert [f.index for f in iter(s.mailbox.get, None)] == [0, 2, 4]
    tally = s.mailbox.tally
    assert (tally.read, tally.dropped["skipped"], tally.dropped["damaged"]) == (8, 2, 3)


def test_a_usage_error_ends_the_camera_and_is_passed_on(stage: Callable[..., Stage]) -> None:
    s = stage()
    error = UsageError("cannot be")
    s.comes(error)
    s.camera.start()
    assert s.camera.ended.wait(PATIENCE_S)
    assert s.errors == [error]


def test_an_unexpected_error_is_logged_whole_and_costs_only_the_connection(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    s = stage()
    s.comes(FakeSource().feed(s.frame(), ZeroDivisionError(f"in {CONFIG.url}")))
    with caplog.at_level(logging.INFO, "roadseg.live"):
        s.camera.start()
        assert s.listener.states(2) == ["connecting", "live"]
        lost = s.listener.next()
        assert (lost.reason, lost.message) == (
            LossReason.PROTOCOL,
            "front (rtsp://***@cam/1): ZeroDivisionError",
        )
        assert s.listener.next().state is CameraState.WAITING
    assert "Traceback" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    assert SECRET not in caplog.text


def test_states_are_logged_without_passwords(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    s = stage()
    with caplog.at_level(logging.INFO, "roadseg.live"):
        s.comes(SourceError(f"cannot open {CONFIG.url}: no"))
        s.camera.start()
        assert s.listener.states(3) == ["connecting", "lost", "waiting"]
    assert "front: lost (codec): cannot open rtsp://***@cam/1: no" in caplog.text
    assert "front: waiting (codec), next attempt in 1.0 s" in caplog.text
    assert SECRET not in caplog.text


def test_a_camera_that_stays_away_is_logged_once_a_reason(
    stage: Callable[..., Stage], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    s = stage()
    refused = SourceError("cannot open it")
    refused.__cause__ = ConnectionRefusedError(111, "refused")
    with caplog.at_level(logging.INFO, "roadseg.live"):
        s.camera.start()
        for _ in range(5):
            s.comes(refused)
            assert s.listener.states(3) == ["connecting", "lost", "waiting"]
            clock.advance(30)
        assert len(caplog.records) == 3
        s.comes(FakeSource().feed(s.frame(), SourceError("gone")))
        changes = [s.listener.next() for _ in range(4)]
        assert [change.repeated for change in changes] == [True, False, False, False]


def test_what_a_source_warns_of_is_logged(
    stage: Callable[..., Stage], caplog: pytest.LogCaptureFixture
) -> None:
    s = stage()
    source = FakeSource()
    source.warnings.append(f"{CONFIG.url} is interlaced")
    with caplog.at_level(logging.INFO, "roadseg.live"):
        s.comes(source.feed(s.frame(0), s.frame(1), SourceError("over")))
        s.camera.start()
        assert s.listener.states(3) == ["connecting", "live", "lost"]
    warned = [r.getMessage() for r in caplog.records if "interlaced" in r.getMessage()]
    assert warned == ["front: rtsp://***@cam/1 is interlaced"]


def test_fifty_connects_leave_no_thread_and_no_descriptor(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    s.comes(FakeSource().feed(s.frame(), SourceError("gone")))
    s.camera.start()
    assert s.listener.states(4) == ["connecting", "live", "lost", "waiting"]
    threads, descriptors = threading.active_count(), open_descriptors()
    for _ in range(50):
        s.comes(FakeSource().feed(s.frame(), SourceError("gone")))
        clock.advance(30)
        assert s.listener.states(4) == ["connecting", "live", "lost", "waiting"]
    assert s.camera.connects == 51
    eventually(lambda: threading.active_count() == threads)
    assert open_descriptors() == descriptors


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def test_stopping_does_not_wait_for_a_stuck_reader(
    stage: Callable[..., Stage], clock: FakeClock
) -> None:
    s = stage()
    stuck = FakeSource().feed(s.frame())
    s.comes(stuck)
    s.camera.start()
    assert s.listener.states(2) == ["connecting", "live"]
    s.camera.stop()
    while not s.camera.join(0.01):
        clock.advance(1)
    assert s.camera.ended.is_set()
    stuck.feed(s.frame(1))
    assert stuck.closed.wait(PATIENCE_S)


def test_a_supervisor_that_fails_says_so(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run must not end as if the file were over."""
    s = stage()

    def fail(_change: StateChange) -> None:
        raise OSError("no space for the log")

    monkeypatch.setattr(s.listener, "changed", fail)
    s.camera.start()
    assert s.camera.ended.wait(PATIENCE_S)
    assert [str(each) for each in s.errors] == ["no space for the log"]
    assert s.mailbox.get() is None
