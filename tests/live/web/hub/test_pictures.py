"""What viewers get: the newest picture, with its state and labels, made once for all."""

from __future__ import annotations

import contextlib
import json

import pytest

from roadseg.live.events import CameraState, LossReason
from roadseg.live.web import viewer
from roadseg.live.web.hub import Hub
from tests.support.live import PATIENCE_S
from tests.support.web import Camera, Page

pytestmark = pytest.mark.usefixtures("no_thread_left")


def test_the_first_message_says_what_there_is(hub: Hub) -> None:
    with Page(hub) as page:
        hello = json.loads(page.socket.recv(PATIENCE_S))
    assert hello["type"] == "hello"
    assert hello["cameras"] == ["front", "rear"]
    assert hello["classes"][3] == "road"
    assert hello["palettes"]["camvid"][3] == [128, 64, 128]
    assert hello["can_record"] is False


def test_frames_come_with_their_camera_state_and_labels(hub: Hub, cameras: list[Camera]) -> None:
    with Page(hub) as page:
        page.watch(0, 1)
        page.settle()
        cameras[1].change(CameraState.STALLED)
        cameras[1].show(shade=50, class_id=4)
        frame = page.frame()
        assert (frame.camera, frame.state, frame.number) == (1, CameraState.STALLED, 0)
        assert (frame.network_ids == 4).all()
        assert abs(int(frame.image_bgr.mean()) - 50) < 3
        assert 0 <= frame.sent_s - frame.captured_s < PATIENCE_S


def test_the_next_frame_waits_for_the_acknowledgement_and_is_the_newest(
    hub: Hub, cameras: list[Camera]
) -> None:
    with Page(hub) as page:
        page.watch(0)
        page.settle()
        cameras[0].show()
        first = page.frame()
        for _ in range(9):
            cameras[0].show()
        with pytest.raises(TimeoutError):
            page.frame(patience_s=0.3)
        page.say(type="ack", camera=0, number=first.number + 1)  # of none that is on its way
        with pytest.raises(TimeoutError):
            page.frame(patience_s=0.3)
        page.ack(first)
        assert page.frame().number == 9
    assert hub.counts.frames == 2
    assert hub.feeds[0].encodings == 2


def test_a_late_viewer_sees_the_last_picture_of_a_lost_camera(
    hub: Hub, cameras: list[Camera]
) -> None:
    cameras[0].show(shade=80)
    cameras[0].change(CameraState.LOST, LossReason.TIMEOUT)
    with Page(hub) as page:
        page.watch(0)
        frame = page.frame()
        assert frame.state is CameraState.LOST
        assert abs(int(frame.image_bgr.mean()) - 80) < 3


def test_pictures_are_made_once_for_all_and_not_at_all_for_nobody(
    hub: Hub, cameras: list[Camera]
) -> None:
    for _ in range(5):
        cameras[0].show()
    assert hub.feeds[0].encodings == 0
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(Page(hub)) for _ in range(5)]
        for page in pages:
            page.watch(0)
        for page in pages:
            page.ack(page.frame())
            page.settle()
        cameras[0].show()
        for page in pages:
            page.ack(page.frame())
            page.settle()
        assert hub.feeds[0].encodings == 2
        assert hub.feeds[1].encodings == 0
        for page in pages:
            page.watch()  # hidden
            page.settle()
        cameras[0].show()
        for page in pages:
            page.settle()
        assert hub.feeds[0].encodings == 2
        assert hub.feeds[0].newest is None


def test_a_tile_takes_the_lower_rung_and_a_slow_viewer_too(
    hub: Hub, cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Page(hub) as page:
        page.watch(0, rung=1)
        page.settle()
        cameras[0].show()
        tile = page.frame()
        assert (tile.rung, tile.image_bgr.shape) == (1, (48, 80, 3))
        page.ack(tile)
        page.watch(0, rung=0)
        rungs = []
        monkeypatch.setattr(viewer, "_DEFAULT_DUE_S", 0.0)  # everything is too slow
        monkeypatch.setattr(cameras[0].station.shows, "per_s", lambda: 0.0)
        for _ in range(8):
            page.settle()
            cameras[0].show()
            frame = page.frame()
            rungs.append(frame.rung)
            page.ack(frame)
        assert rungs == [0] * 6 + [1] * 2
