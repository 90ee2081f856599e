"""Read-outs, rules and privacy on live frames: what leaves the program has been through them."""

from __future__ import annotations

import time
from dataclasses import replace

import cv2
import numpy as np

from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.labels import CAMVID, class_id
from roadseg.core.types import Labels
from roadseg.live.config import EventConfig, LiveConfig, SourceConfig
from roadseg.live.configured import configured_reader, renderer_of
from roadseg.live.events import CameraState, LossReason, RoadEvent, StateChange
from roadseg.live.mailbox import Bell
from roadseg.live.outputs import Result
from roadseg.live.station import Station
from roadseg.live.web.message import encode, unpack
from roadseg.live.web.status import StatusBoard
from roadseg.loading.segmenter import Segmenter
from tests.support.live import PATIENCE_S, FakeSource, make_frame

SECRET = 200
"""Shade of what nobody may see."""

HIDDEN = 64
ROAD, PERSON = class_id("road"), class_id("pedestrian")


def station_of(source: SourceConfig | None = None, **options: object) -> Station:
    source = source or SourceConfig("cam", "0", max_staleness=PATIENCE_S)
    config = LiveConfig((source,), **options)  # type: ignore[arg-type]
    station = Station(source, Bell(), reader=configured_reader(config, CAMVID)(source))
    station.opened(FakeSource().info)
    return station


def show(station: Station, index: int, ids: int | Labels) -> None:
    frame = replace(make_frame(index, time.monotonic(), SECRET), time_s=index / 10)
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
