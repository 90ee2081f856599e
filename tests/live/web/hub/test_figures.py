"""The time, figures, events, health and metrics that the hub tells."""

from __future__ import annotations

import json
import time

import pytest

from roadseg.live.events import CameraState, LossReason
from roadseg.live.web.hub import Hub
from tests.support.web import Camera, Page, get

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_time_is_told_at_once(hub: Hub) -> None:
    with Page(hub) as page:
        before_s = time.monotonic()
        page.say(type="clock", sent=12.5, rtt=0.01)
        answer = page.told("clock")
        assert answer["sent"] == 12.5
        assert before_s <= answer["server"] <= time.monotonic()


def test_figures_and_events_are_told(hub: Hub, cameras: list[Camera]) -> None:
    cameras[0].show()
    cameras[0].station.tally.drop("late")
    cameras[1].change(CameraState.LOST, LossReason.LOGIN)
    with Page(hub) as page:
        status = page.told("status")
        front, rear = status["cameras"]
        assert (front["state"], front["size"], front["shown"]) == ("live", [160, 96], 1)
        assert front["dropped"]["late"] == 1
        assert (rear["state"], rear["reason"], rear["size"]) == ("lost", "login", None)
        assert rear["health"] == ["offline"]
        told = [(event["source"], event["what"]) for event in status["events"]]
        assert ("rear", "lost") in told
        assert ("rear", "offline") in told
        cameras[1].change(CameraState.LIVE)
        later = page.told("status")
        while not later["events"]:
            later = page.told("status")
        # The end of a condition replaces its beginning, and nothing is told twice.
        told = [(event["source"], event["what"]) for event in later["events"]]
        assert sorted(told) == [("rear", "live"), ("rear", "offline")]
        offline = next(event for event in later["events"] if event["what"] == "offline")
        assert offline["lasted_s"] >= 0
        assert offline["id"] in [event["id"] for event in status["events"]]


def test_health_has_the_state_of_every_source(hub: Hub, cameras: list[Camera]) -> None:
    cameras[0].show()
    status, _, body = get(hub, "/healthz")
    answer = json.loads(body)
    assert (status, answer["status"]) == (200, "ok")
    front, rear = answer["sources"]
    assert (front["name"], front["state"]) == ("front", "live")
    assert front["last_frame_age_s"] >= 0
    assert rear["last_frame_age_s"] is None
    cameras[1].change(CameraState.WAITING, LossReason.REFUSED)
    status, _, body = get(hub, "/healthz")
    assert (status, json.loads(body)["status"]) == (200, "degraded")
    assert json.loads(body)["sources"][1]["reason"] == "refused"
    cameras[0].change(CameraState.LOST, LossReason.ENDED)
    status, _, body = get(hub, "/healthz")
    assert (status, json.loads(body)["status"]) == (503, "down")


def test_metrics_are_what_prometheus_reads(hub: Hub, cameras: list[Camera]) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    cameras[0].show()
    cameras[0].show()
    cameras[0].station.tally.drop("replaced", 3)
    cameras[1].change(CameraState.LOST, LossReason.ENDED)
    with Page(hub) as page:
        page.watch(0)
        page.frame()
        status, headers, body = get(hub, "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(body.decode()))
    assert all(family.name.startswith("roadseg_") for family in families)
    values = {
        (sample.name, *(sample.labels[key] for key in sorted(sample.labels))): sample.value
        for family in families
        for sample in family.samples
    }
    assert values["roadseg_frames_shown_total", "front"] == 2
    assert values["roadseg_source_state", "front", "live"] == 1
    assert values["roadseg_source_state", "rear", "lost"] == 1
    assert values["roadseg_source_state", "rear", "live"] == 0
    assert values["roadseg_camera_condition", "offline", "rear"] == 1
    assert ("roadseg_last_frame_age_seconds", "front") in values
    assert ("roadseg_last_frame_age_seconds", "rear") not in values
    assert values[("roadseg_viewers",)] == 1
    assert values[("roadseg_viewer_frames_total",)] == 1
    dropped = {
        sample.labels["cause"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "roadseg_frames_dropped_total" and sample.labels["source"] == "front"
    }
    assert dropped["replaced"] == 3
