"""One camera as everybody else sees it: results, outputs, viewers, and what stands in for it."""

from __future__ import annotations

import queue
import threading
from pathlib import Path

import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import CAMVID
from roadseg.core.types import Image
from roadseg.live.config import SourceConfig
from roadseg.live.events import CameraState, HealthKind, LossReason, StateChange
from roadseg.live.lost_picture import lost_picture
from roadseg.live.mailbox import Bell
from roadseg.live.outputs import MaskWriter, Output, PictureWriter, Result
from roadseg.live.station import Station
from roadseg.live.web.status import health
from roadseg.media.sources.base import SourceInfo
from tests.support.live import PATIENCE_S, FakeClock, FakeSource, eventually, make_frame

INFO = FakeSource().info
LABELS = LabelMap(np.full((48, 64), 3, np.uint8), Geometry((48, 64), (48, 64)))


class Writer:
    """Notes results; waits in `write` while a test holds it."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.closed: list[bool] = []
        self.entered: queue.Queue[int] = queue.Queue()
        self.free = threading.Event()
        self.free.set()
        self.fails = False

    def write(self, result: Result, info: SourceInfo) -> None:
        self.entered.put(result.number)
        assert self.free.wait(PATIENCE_S)
        if self.fails:
            raise SinkError("the disk is full")
        self.numbers.append(result.number)

    def close(self, *, ok: bool) -> None:
        self.closed.append(ok)


def opened(clock: FakeClock, **config: object) -> Station:
    station = Station(SourceConfig("front", "0", **config), Bell(), clock=clock)  # type: ignore[arg-type]
    station.opened(INFO)
    return station


def show(station: Station, clock: FakeClock, index: int = 0, age_s: float = 0.0) -> None:
    frame = make_frame(index, clock() - age_s)
    station.tally.read += 1
    station.arrived(frame)
    station.show(frame, LABELS)


def change(state: CameraState, time_s: float, reason: LossReason | None = None) -> StateChange:
    return StateChange(time_s, 1.7e9 + time_s, "front", state, reason)


def output(station: Station, writer: Writer, errors: list[BaseException]) -> Output:
    made = Output("test", writer, on_free=lambda: None, on_error=errors.append)
    station.add_output(made)
    return made


def test_a_result_is_counted_with_its_age(clock: FakeClock) -> None:
    station = opened(clock)
    for i in range(10):
        show(station, clock, i, age_s=0.1)
        clock.advance(0.1)
    assert station.tally.shown == 10
    assert station.ages.summary().p50 == pytest.approx(0.1)
    assert station.shows.per_s() == pytest.approx(10)
    assert station.newest is not None
    assert (station.newest.number, station.newest.frame.index) == (9, 9)


def test_a_result_that_grew_too_old_in_the_network_is_not_shown(clock: FakeClock) -> None:
    station = opened(clock, max_staleness=0.3)
    watcher = station.watch()
    show(station, clock, age_s=0.31)
    assert station.newest is None
    assert watcher.take() is None
    assert station.tally.dropped["late"] == 1
    assert station.tally.pending == 0


def test_a_network_that_is_too_slow_for_the_staleness_is_named_once(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    station = opened(clock)
    for i in range(9):
        show(station, clock, i, age_s=0.5)
    show(station, clock, 9, age_s=0.1)
    assert caplog.records == []
    assert not station.too_slow
    for i in range(25):
        show(station, clock, i, age_s=0.5)
    assert [record.getMessage() for record in caplog.records] == [
        "front: nothing is shown: results are 0.50 s old when the network has finished, and "
        "max_staleness is 0.3; take a faster network, or raise it"
    ]
    assert station.too_slow, "the page says so"


def test_viewers_get_the_newest_until_they_leave(clock: FakeClock) -> None:
    station = opened(clock)
    slot = station.watch()
    show(station, clock, 0)
    show(station, clock, 1)
    result = slot.take()
    assert result is not None
    assert result.frame.index == 1
    station.unwatch(slot)
    station.unwatch(slot)
    show(station, clock, 2)
    assert slot.take() is None
    assert slot.closed


def test_a_slow_output_of_a_live_source_costs_only_its_own_pictures(
    clock: FakeClock, no_thread_left: None
) -> None:
    station, writer, errors = opened(clock), Writer(), []
    made = output(station, writer, errors)
    writer.free.clear()
    show(station, clock, 0)
    assert writer.entered.get(timeout=PATIENCE_S) == 0
    for i in range(1, 5):
        show(station, clock, i)  # nobody waits
    assert station.ready
    writer.free.set()
    made.finish()
    assert made.join(PATIENCE_S)
    assert (writer.numbers, writer.closed, made.left_out) == ([0, 4], [True], 3)
    assert station.tally.shown == 5


def test_a_file_waits_for_its_outputs(clock: FakeClock, no_thread_left: None) -> None:
    station, writer, errors = opened(clock), Writer(), []
    station.mailbox.every = True
    made = output(station, writer, errors)
    writer.free.clear()
    show(station, clock, 0)
    assert writer.entered.get(timeout=PATIENCE_S) == 0
    assert station.ready
    show(station, clock, 1)
    assert not station.ready
    writer.free.set()
    eventually(lambda: station.ready)
    made.finish()
    assert made.join(PATIENCE_S)
    assert writer.numbers == [0, 1]


def test_an_output_that_fails_is_reported_once_and_holds_nobody_up(
    clock: FakeClock, no_thread_left: None
) -> None:
    station, writer, errors = opened(clock), Writer(), []
    station.mailbox.every = True
    writer.fails = True
    made = output(station, writer, errors)
    show(station, clock, 0)
    assert made.join(PATIENCE_S)
    show(station, clock, 1)
    assert station.ready
    assert [str(error) for error in errors] == ["the disk is full"]
    assert (writer.numbers, writer.closed) == ([], [False])


def test_outputs_come_and_go(clock: FakeClock, no_thread_left: None) -> None:
    station, writer, errors = opened(clock), Writer(), []
    show(station, clock, 0)
    made = output(station, writer, errors)
    show(station, clock, 1)
    station.remove_output(made)
    show(station, clock, 2)
    made.finish()
    assert made.join(PATIENCE_S)
    assert writer.numbers == [1]


def test_pictures_are_rendered_for_those_who_want_them_and_labels_for_those(
    clock: FakeClock, tmp_path: Path, no_thread_left: None
) -> None:
    station, errors = opened(clock), []
    station.mailbox.every = True
    rendered: list[int] = []

    def render(result: Result) -> Image:
        rendered.append(result.number)
        return result.frame.image_bgr

    writer = MaskWriter(tmp_path / "m", CAMVID.names)
    masks = Output("m", writer, on_free=lambda: None, on_error=errors.append)
    station.add_output(masks)
    show(station, clock, 0)
    assert rendered == []
    pictures = Output(
        "p",
        PictureWriter(tmp_path / "p", render),
        on_free=lambda: None,
        on_error=errors.append,
    )
    station.add_output(pictures)
    eventually(lambda: station.ready)
    show(station, clock, 1)
    for each in (masks, pictures):
        each.finish()
        assert each.join(PATIENCE_S)
    assert errors == []
    assert rendered == [1]
    assert len(list((tmp_path / "m").glob("*.png"))) == 2
    assert len(list((tmp_path / "p").glob("*.png"))) == 1


def test_states_and_faults_are_one_list_of_events(clock: FakeClock) -> None:
    told: list[object] = []
    station = Station(SourceConfig("front", "0"), Bell(), on_event=told.append, clock=clock)
    station.changed(change(CameraState.CONNECTING, 1))
    assert station.health == ()
    station.changed(change(CameraState.LOST, 2, LossReason.REFUSED))
    assert [event.kind for event in station.health] == [HealthKind.OFFLINE]
    station.changed(change(CameraState.LIVE, 9))
    assert station.health == ()
    assert list(station.events) == told
    assert [str(event) for event in station.events] == [
        "front: connecting",
        "front: lost (refused)",
        "front: offline",
        "front: live",
        "front: no longer offline, after 7.0 s",
    ]


def test_the_end_of_a_file_is_no_fault(clock: FakeClock) -> None:
    station = Station(SourceConfig("clip", "clip.mp4"), Bell(), clock=clock)
    station.opened(FakeSource("file").info)
    station.changed(change(CameraState.LIVE, 1))
    for i in range(30):
        station.arrived(make_frame(i, clock(), shade=0))
        clock.advance(0.2)
    station.changed(change(CameraState.LOST, 9, LossReason.ENDED))
    assert all(isinstance(event, StateChange) for event in station.events)


def test_what_repeats_itself_is_not_kept(clock: FakeClock) -> None:
    station = Station(SourceConfig("front", "0"), Bell(), clock=clock)
    for repeated in (False, True, True):
        station.changed(StateChange(1, 1, "front", CameraState.CONNECTING, repeated=repeated))
    assert len(station.events) == 1


def test_health_may_be_left_alone(clock: FakeClock) -> None:
    station = opened(clock, watch_health=False)
    for i in range(30):
        station.arrived(make_frame(i, clock(), shade=0))
        clock.advance(0.2)
    assert station.health == ()


def test_what_is_shown_of_a_camera(clock: FakeClock) -> None:
    station = opened(clock)

    def render(result: Result) -> Image:
        return result.frame.image_bgr + 1

    assert station.picture(render) is None
    station.changed(change(CameraState.LIVE, 1))
    show(station, clock)
    live = station.picture(render)
    assert live is not None
    assert (live == 101).all()
    station.changed(change(CameraState.STALLED, 2))
    assert (station.picture(render) == live).all()
    station.changed(change(CameraState.LOST, 3, LossReason.TIMEOUT))
    lost = station.picture(render)
    assert lost is not None
    assert lost[0, 0, 0] == 35
    assert station.newest is not None
    assert (station.newest.frame.image_bgr == 100).all()  # the frame itself is as it was


def test_a_lost_camera_stays_dark_while_the_next_attempt_is_on_its_way(clock: FakeClock) -> None:
    station = opened(clock)
    station.changed(change(CameraState.LIVE, 1))
    show(station, clock)
    assert station.dark_since_wall_s is None
    for state in (CameraState.LOST, CameraState.WAITING):
        station.changed(change(state, 3, LossReason.TIMEOUT))
    waiting = health([station], details=True, now_s=clock())["sources"][0]
    station.changed(change(CameraState.CONNECTING, 9))
    connecting = health([station], details=True, now_s=clock())["sources"][0]
    for one in (waiting, connecting):
        assert one["reason"] == "timeout"
        assert one["no_picture_since"] == waiting["no_picture_since"] == station.dark_since_wall_s
    picture = station.picture(lambda r: r.frame.image_bgr)
    assert picture is not None
    assert picture[0, 0, 0] == 35
    station.changed(change(CameraState.LIVE, 10))
    again = health([station], details=True, now_s=clock())["sources"][0]
    assert (again["reason"], again["message"], again["no_picture_since"]) == (None, "", None)


def test_a_camera_that_never_came_has_a_picture_that_says_so(clock: FakeClock) -> None:
    station = Station(SourceConfig("front", "0"), Bell(), clock=clock)
    station.changed(change(CameraState.CONNECTING, 1))
    assert station.picture(lambda r: r.frame.image_bgr) is None
    station.changed(change(CameraState.LOST, 2, LossReason.REFUSED))
    picture = station.picture(lambda r: r.frame.image_bgr)
    assert picture is not None
    assert picture.shape == (360, 640, 3)
    assert picture.max() > 200  # the text


@pytest.mark.parametrize("size_hw", [(540, 960), (1080, 1920), (360, 480), (20, 30), (9, 9)])
def test_a_lost_picture_is_dark_and_says_why_where_it_has_room(size_hw: tuple[int, int]) -> None:
    image_bgr = np.full((*size_hw, 3), 200, np.uint8)
    picture = lost_picture(image_bgr, change(CameraState.LOST, 0, LossReason.LOGIN), 1.7e9)
    assert picture.shape == image_bgr.shape
    assert (image_bgr == 200).all()
    assert picture[0, 0].tolist() == [70, 70, 70]
    assert bool(picture.max() > 200) is (size_hw[0] > 100)


def test_the_reason_and_the_time_are_part_of_the_picture() -> None:
    image_bgr = np.full((360, 640, 3), 200, np.uint8)
    login = change(CameraState.LOST, 0, LossReason.LOGIN)
    one = lost_picture(image_bgr, login, 1.7e9)
    other = lost_picture(image_bgr, change(CameraState.LOST, 0, LossReason.CODEC), 1.7e9)
    later = lost_picture(image_bgr, login, 1.7e9 + 1)
    assert not np.array_equal(one, other)
    assert not np.array_equal(one, later)
    assert np.array_equal(one, lost_picture(image_bgr, login, 1.7e9))
