"""Read-outs, rules and privacy on live frames: what leaves the program has been through them."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import cv2
import numpy as np

from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import CAMVID, class_id
from roadseg.core.types import Labels
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.config import EventConfig, LiveConfig, SourceConfig
from roadseg.live.configured import configured_reader, renderer_of
from roadseg.live.events import CameraState, LossReason, RoadEvent, StateChange
from roadseg.live.mailbox import Bell
from roadseg.live.outputs import Output, Result
from roadseg.live.station import Station
from roadseg.live.web.message import encode, unpack
from roadseg.live.web.status import StatusBoard
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.base import SourceInfo
from tests.support.live import PATIENCE_S, FakeClock, FakeSource, make_frame

SECRET = 200
"""Shade of what nobody may see."""

HIDDEN = 64
ROAD, PERSON = class_id("road"), class_id("pedestrian")


def station_of(
    source: SourceConfig | None = None, clock: Clock = SYSTEM_CLOCK, **options: object
) -> Station:
    source = source or SourceConfig("cam", "0", max_staleness=PATIENCE_S)
    config = LiveConfig((source,), **options)  # type: ignore[arg-type]
    station = Station(source, Bell(), reader=configured_reader(config, CAMVID)(source), clock=clock)
    station.opened(FakeSource().info)
    return station


def show(station: Station, index: int, ids: int | Labels, captured_s: float | None = None) -> None:
    captured_s = time.monotonic() if captured_s is None else captured_s
    frame = replace(make_frame(index, captured_s, SECRET), time_s=index / 10)
    station.tally.read += 1
    station.arrived(frame)
    labels = np.full((32, 32), ids, np.uint8)
    station.show(frame, LabelMap(labels, Geometry(frame.size_hw, (32, 32))))


def test_what_is_hidden_is_in_nothing_that_leaves() -> None:
    station = station_of(blur="pedestrian", blur_style="fill")
    slot = station.watch()
    show(station, 0, PERSON)
    result = slot.take()
    assert result is not None
    assert result.frame.image_bgr.max() == HIDDEN
    sent = unpack(encode(result, 0).message(0, CameraState.LIVE, 0))
    assert sent.image_bgr.max() <= HIDDEN + 2
    # A frame that has come and has no labels yet, and then the camera is lost.
    station.arrived(make_frame(1, time.monotonic(), SECRET))
    lost = StateChange(0, 0, "cam", CameraState.LOST, LossReason.TIMEOUT)
    station.changed(lost)
    picture = station.picture(lambda result: result.frame.image_bgr)
    assert picture is not None
    corner = picture[:8]
    assert corner.max() <= HIDDEN


def test_a_camera_that_is_lost_before_its_first_labels_shows_nothing_of_it() -> None:
    station = station_of(blur="pedestrian")
    station.arrived(make_frame(0, time.monotonic(), SECRET))
    station.changed(StateChange(0, 0, "cam", CameraState.LOST, LossReason.TIMEOUT))
    picture = station.picture(lambda result: result.frame.image_bgr)
    assert picture is not None
    assert picture.shape[:2] != (48, 64), "a picture of its own"


def test_rules_become_events_with_a_beginning_and_an_end() -> None:
    rules = (EventConfig("walker", "pedestrian > 50%"),)
    station = station_of(event=rules)
    for index, ids in enumerate((ROAD, PERSON, PERSON, ROAD)):
        show(station, index, ids)
    events = [each for each in station.recent_events() if isinstance(each, RoadEvent)]
    assert [each.name for each in events] == ["walker", "walker"]
    assert events[0].ended_s is None
    assert events[1].ended_s is not None
    listed = StatusBoard([station], None).current()["events"]
    assert {each["kind"] for each in listed if each["what"] == "walker"} == {"road"}


def test_smoothing_is_one_frame_late_and_loses_none() -> None:
    station = station_of(smooth=True)
    for index in range(4):
        show(station, index, ROAD)
    assert station.tally.shown == 3
    station.finish()
    assert station.tally.shown == station.tally.read == 4


def test_smoothing_at_a_low_rate_shows_what_was_in_time_when_it_left_the_network() -> None:
    clock = FakeClock()
    station = station_of(SourceConfig("cam", "0"), clock, smooth=True)
    ages = (0.1, 0.1, 0.5, 0.1, 0.1)
    for index, age_s in enumerate(ages):
        show(station, index, ROAD, captured_s=clock() - age_s)
        clock.advance(1.0)
    assert (station.tally.shown, station.tally.dropped["late"]) == (3, 1)
    assert station.newest is not None
    assert station.newest.frame.index == 3
    station.finish()
    assert station.newest.frame.index == 4
    assert (station.tally.shown, station.tally.pending) == (4, 0)


class Held:
    """A writer that waits for a test with its first result."""

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.entered, self.free = threading.Event(), threading.Event()

    def write(self, result: Result, info: SourceInfo) -> None:
        self.entered.set()
        assert self.free.wait(PATIENCE_S)
        self.indexes.append(result.frame.index)

    def close(self, *, ok: bool) -> None:
        assert ok


def test_where_every_frame_counts_the_one_that_was_held_back_replaces_none() -> None:
    station, writer, errors = station_of(smooth=True), Held(), []
    station.mailbox.every = True
    output = Output("held", writer, on_free=lambda: None, on_error=errors.append)
    station.add_output(output)
    for index in range(2):
        show(station, index, ROAD)
    assert writer.entered.wait(PATIENCE_S)
    assert station.ready, "the writer has the first one, and nothing waits"
    show(station, 2, ROAD)
    assert not station.ready
    station.finish()
    output.finish()
    writer.free.set()
    assert output.join(PATIENCE_S)
    assert (writer.indexes, output.left_out, errors) == ([0, 1, 2], 0, [])


def test_what_smoothing_held_back_is_not_shown_when_a_camera_comes_back() -> None:
    clock = FakeClock()
    station = station_of(SourceConfig("cam", "0"), clock, smooth=True)
    show(station, 0, ROAD, captured_s=clock())
    clock.advance(3.0)
    station.changed(
        StateChange(clock(), 0, "cam", CameraState.LOST, LossReason.TIMEOUT),
    )
    clock.advance(20.0)
    station.changed(StateChange(clock(), 0, "cam", CameraState.LIVE))
    slot = station.watch()
    show(station, 1, ROAD, captured_s=clock())
    assert slot.take() is None
    show(station, 2, ROAD, captured_s=clock())
    result = slot.take()
    assert result is not None
    assert result.frame.index == 1
    assert station.tally.dropped["late"] == 1


def test_what_is_left_out_is_void_on_the_page(tmp_path) -> None:
    mask = np.zeros((48, 64), np.uint8)
    mask[24:] = 255
    path = tmp_path / "mask.png"
    cv2.imwrite(str(path), mask)
    source = SourceConfig("cam", "0", max_staleness=PATIENCE_S, ignore_mask=str(path))
    station = station_of(source)
    show(station, 0, ROAD)
    assert isinstance(station.newest, Result)
    ids = station.newest.network_ids
    assert (ids[:15] == ROAD).all()
    assert (ids[17:] == CAMVID.num_classes).all()


def test_lines_of_the_read_outs_are_in_windows_and_recordings() -> None:
    source = SourceConfig("cam", "0", max_staleness=PATIENCE_S)
    config = LiveConfig((source,), readouts=True, legend=False)
    labels = np.full((32, 32), class_id("sky"), np.uint8)
    labels[24:] = ROAD
    pictures = []
    for options in ({"readouts": True}, {}):
        station = station_of(source, **options)
        show(station, 0, labels)
        assert isinstance(station.newest, Result)
        pictures.append(renderer_of(station, config, Segmenter(backend="fake"))(station.newest))
    rows = np.flatnonzero((pictures[0] != pictures[1])[:, -8:].any(axis=(1, 2)))
    assert rows.size
    assert np.abs(rows - 35.5).max() <= 3, "48 rows of the picture, three quarters of them sky"


def test_read_outs_are_on_the_page() -> None:
    station = station_of(readouts=True)
    show(station, 0, ROAD)
    (camera,) = StatusBoard([station], None).current()["cameras"]
    assert camera["readings"][0] == ["road 100%", "free >99 m"]
