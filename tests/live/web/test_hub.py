"""The hub with real sockets: what viewers get, and that none of them matters to anybody else."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from roadseg.core.errors import SinkError, UsageError
from roadseg.live.events import CameraState, LossReason
from roadseg.live.web import connections, gate, viewer
from roadseg.live.web import serve as serve_page
from roadseg.live.web.hub import Hub
from roadseg.live.web.recordings import RecordedFile
from tests.support.live import PATIENCE_S, eventually
from tests.support.web import Camera, Page, Serve, get

pytestmark = pytest.mark.usefixtures("no_thread_left")


def drain(page: Page) -> None:
    """Read until the connection ends."""
    while True:
        page.socket.recv(PATIENCE_S)


def closed(page: Page) -> int:
    """The code that the server gave when it closed the connection."""
    with pytest.raises(ConnectionClosed) as info:
        drain(page)
    assert info.value.rcvd is not None
    return info.value.rcvd.code


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


def test_viewers_that_never_acknowledge_cost_others_nothing(
    hub: Hub, cameras: list[Camera]
) -> None:
    with contextlib.ExitStack() as stack:
        silent = [stack.enter_context(Page(hub)) for _ in range(5)]
        for page in silent:
            page.watch(0, 1)
            page.settle()
        with Page(hub) as good:
            good.watch(0)
            good.settle()
            for number in range(20):
                cameras[0].show()
                frame = good.frame()
                assert frame.number == number
                good.ack(frame)
        assert hub.counts.frames == 20 + 5


def test_one_that_acknowledges_nothing_is_cut_off(
    hub: Hub, cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(viewer, "_ACKNOWLEDGE_S", 0.1)
    with Page(hub) as page:
        page.watch(0)
        page.settle()
        assert hub.viewers == 1
        cameras[0].show()
        eventually(lambda: hub.viewers == 0)
        assert hub.counts.refused == 1
        assert hub.feeds[0].newest is None
        with pytest.raises(ConnectionClosed):
            drain(page)


@pytest.mark.parametrize(
    "message",
    [
        "",
        "x",
        "[]",
        "null",
        '{"type": "dance"}',
        '{"type": "watch", "cameras": {"2": 0}}',
        '{"type": "watch", "cameras": {"-1": 0}}',
        '{"type": "watch", "cameras": {"0": 2}}',
        '{"type": "watch", "cameras": 7}',
        '{"type": "watch"}',
        '{"type": "ack", "camera": "x", "number": 1}',
        '{"type": "ack", "camera": 1e999, "number": 1}',
        '{"type": "clock", "sent": NaN}',
        '{"type": "record", "camera": 0, "on": true}',
        "[" * 5000,
    ],
)
def test_nonsense_ends_the_connection(hub: Hub, message: str) -> None:
    with Page(hub) as page:
        page.socket.send(message)
        assert closed(page) == 1008
    eventually(lambda: hub.viewers == 0)
    assert hub.counts.refused == 1


def test_binary_nonsense_ends_the_connection(hub: Hub) -> None:
    with Page(hub) as page:
        page.socket.send(b"\xff" * 10)
        assert closed(page) == 1008


def test_a_message_that_is_too_long_ends_the_connection(hub: Hub) -> None:
    with Page(hub) as page:
        page.socket.send("x" * (viewer.MAX_MESSAGE_BYTES + 1))
        assert closed(page) == 1009


def test_a_flood_ends_the_connection(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(viewer, "_MOST_MESSAGES", -230)  # two cameras add 240
    with Page(hub) as page:
        with contextlib.suppress(ConnectionClosed):
            for _ in range(200):
                page.say(type="ack", camera=0, number=0)
        assert closed(page) == 1008


def test_there_is_a_limit_to_viewers(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roadseg.live.web.hub._MOST_VIEWERS", 2)
    hub = serve()
    with Page(hub) as one, Page(hub) as two:
        one.settle()
        two.settle()
        with Page(hub) as three:
            assert closed(three) == 1013
        one.settle()
    eventually(lambda: hub.viewers == 0)
    with Page(hub) as again:
        again.settle()


def test_there_is_a_limit_to_connections(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_MOST_CONNECTIONS", 1)
    hub = serve()
    with Page(hub) as page:
        page.settle()
        with pytest.raises((ConnectionError, TimeoutError, OSError)):
            get(hub, "/healthz")
        page.settle()


def test_a_connection_that_asks_for_nothing_is_closed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LOOK_S", 0.05)
    hub = serve()
    for first in (b"", b"GET / HT", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET"):
        with socket.create_connection(("127.0.0.1", hub.port), PATIENCE_S) as idle:
            idle.sendall(first)
            with contextlib.suppress(ConnectionResetError):
                while idle.recv(65536):
                    pass


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


def test_coming_and_going_leaves_nothing_behind(hub: Hub, cameras: list[Camera]) -> None:
    cameras[0].show()
    with Page(hub) as page:
        page.watch(0)
        page.frame()
    eventually(lambda: hub.viewers == 0)
    threads, descriptors = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for i in range(30):
        with Page(hub) as page:
            page.watch(0)
            page.frame()
            if i % 2:
                page.socket.socket.shutdown(socket.SHUT_RDWR)  # gone without a word
    eventually(lambda: hub.viewers == 0)
    eventually(lambda: threading.active_count() <= threads + 1)  # a second compressor
    eventually(lambda: len(os.listdir("/proc/self/fd")) <= descriptors)
    assert hub.feeds[0].newest is None


def test_viewers_are_told_when_it_ends_and_find_it_again(
    serve: Serve, cameras: list[Camera]
) -> None:
    hub = serve()
    with Page(hub) as page:
        page.settle()
        hub.stop()
        assert closed(page) == 1012
    cameras[0].show()  # nobody is there
    again = serve(port=hub.port)
    with Page(again) as page:
        page.settle()


def test_results_go_on_when_the_page_is_gone(serve: Serve, cameras: list[Camera]) -> None:
    hub = serve()
    with Page(hub) as page:
        page.watch(0)
        page.settle()
        hub.stop()
        for _ in range(5):
            cameras[0].show()
    assert cameras[0].station.tally.shown == 5


def test_a_port_that_is_taken_is_named(hub: Hub, serve: Serve) -> None:
    with pytest.raises(
        UsageError, match=f"127.0.0.1:{hub.port}: address already in use: free the port"
    ):
        serve(port=hub.port)


def test_an_address_of_another_machine_is_refused(serve: Serve) -> None:
    with pytest.raises(UsageError, match="at 192.0.2.1:0: .*: give an address of this"):
        serve(address="192.0.2.1")


def test_the_context_manager_serves_and_ends(cameras: list[Camera]) -> None:
    with serve_page([camera.station for camera in cameras], port=0) as hub:
        status, _, body = get(hub, "/")
        assert status == 200
        assert b"<title>roadseg</title>" in body
    with pytest.raises(OSError, match="refused"):
        get(hub, "/")


def test_the_stream_is_finished_pictures_made_while_watched(
    hub: Hub, cameras: list[Camera]
) -> None:
    import http.client

    cv2 = pytest.importorskip("cv2")
    drawn = hub._mjpegs["front"]
    cameras[0].show(shade=100, class_id=8)
    assert drawn.drawn == 0
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=PATIENCE_S)
    connection.request("GET", "/stream/front.mjpg")
    answer = connection.getresponse()
    assert answer.getheader("content-type") == "multipart/x-mixed-replace; boundary=roadseg"

    def picture() -> np.ndarray:
        assert answer.readline() == b"--roadseg\r\n"
        assert answer.readline() == b"Content-Type: image/jpeg\r\n"
        length = int(answer.readline().split(b":")[1])
        assert answer.readline() == b"\r\n"
        jpeg = answer.read(length)
        assert answer.readline() == b"\r\n"
        return np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))

    live = picture()
    assert live.shape == (96, 160, 3)
    # Half of the frame, half of a car's colour.
    assert np.abs(live[80, 20].astype(int) - [178, 96, 67]).max() < 8
    for number, shade in enumerate((200, 50, 120), 2):
        cameras[0].show(shade=shade, class_id=8)
        # One picture more where the one before was repeated meanwhile.
        assert any(abs(int(picture()[80, 20, 0]) - shade / 2 - 128) < 8 for _ in range(60))
        assert drawn.drawn == number
    cameras[0].change(CameraState.LOST, LossReason.REFUSED)
    lost = picture()
    while lost.mean() > 60:
        lost = picture()
    assert drawn.drawn == 5
    picture()  # repeated, not drawn again
    assert drawn.drawn == 5
    connection.sock.close()
    answer.close()
    connection.close()
    eventually(lambda: hub.feeds[0].newest is None)
    assert get(hub, "/stream/nobody.mjpg")[0] == 404


def test_a_program_that_takes_nothing_is_cut_off(
    hub: Hub, cameras: list[Camera], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gate, "_STALL_S", 0.2)
    noise = np.random.default_rng(1).integers(0, 256, (720, 1280, 3), np.uint8)
    with socket.create_connection(("127.0.0.1", hub.port), PATIENCE_S) as stuck:
        stuck.sendall(b"GET /stream/front.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: hub.feeds[0]._news != set())
        ends_s = time.monotonic() + PATIENCE_S
        while hub.feeds[0]._news and time.monotonic() < ends_s:
            cameras[0].show(image_bgr=noise)
            time.sleep(0.02)
        assert not hub.feeds[0]._news


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


class Recorder:
    """Notes what is asked of it."""

    def __init__(self, folder: Path) -> None:
        self.on: set[str] = set()
        self.folder = folder
        (folder / "front.mp4").write_bytes(b"video")
        (folder / "secret.txt").write_bytes(b"secret")

    def is_recording(self, source: str) -> bool:
        return source in self.on

    def start(self, source: str) -> None:
        if source == "rear":
            raise SinkError("the disk is full")
        self.on.add(source)

    def stop(self, source: str) -> None:
        self.on.discard(source)

    def files(self) -> list[RecordedFile]:
        gone = self.folder / "gone.mp4"
        return [
            RecordedFile("front.mp4", self.folder / "front.mp4", "front", 1.7e9, 5),
            RecordedFile("gone.mp4", gone, "front", 1.7e9, 5),
        ]


def test_recordings_are_started_stopped_listed_and_downloaded(serve: Serve, tmp_path: Path) -> None:
    recorder = Recorder(tmp_path)
    hub = serve(recorder=recorder)
    with Page(hub) as page:
        assert page.told("hello")["can_record"] is True
        page.say(type="record", camera=0, on=True)
        eventually(lambda: recorder.on == {"front"})
        page.say(type="record", camera=0, on=False)
        eventually(lambda: recorder.on == set())
        page.say(type="record", camera=1, on=True)
        assert page.told("error")["message"] == "the disk is full"
    listed = json.loads(get(hub, "/recordings")[2])
    assert listed[0] == {"name": "front.mp4", "source": "front", "began": 1.7e9, "bytes": 5}
    status, headers, body = get(hub, "/recordings/front.mp4")
    assert (status, body) == (200, b"video")
    assert "attachment" in headers["content-disposition"]
    for name in ("secret.txt", "gone.mp4", "..%2Fsecret.txt", "%2e%2e/secret.txt", "front.mp4/"):
        assert get(hub, f"/recordings/{name}")[0] in (404, 307), name


def test_a_disk_that_hangs_stops_no_pictures(
    serve: Serve, cameras: list[Camera], tmp_path: Path
) -> None:
    """Several viewers wait for it, more than there are threads that encode."""
    free, waiting = threading.Event(), threading.Semaphore(0)

    class Hanging(Recorder):
        def stop(self, source: str) -> None:
            waiting.release()
            assert free.wait(PATIENCE_S)

    hub = serve(recorder=Hanging(tmp_path))
    with contextlib.ExitStack() as stack:
        pages = [stack.enter_context(Page(hub)) for _ in range(4)]
        stack.callback(free.set)
        for page in pages:
            page.watch(0)
            page.say(type="record", camera=0, on=False)
            assert waiting.acquire(timeout=PATIENCE_S)
        for shade in (50, 100, 150):
            cameras[0].show(shade=shade)
            for page in pages:
                frame = page.frame()
                assert abs(int(frame.image_bgr.mean()) - shade) < 3
                page.ack(frame)
                page.settle()
        for _ in range(viewer._MOST_WISHES):
            pages[0].say(type="record", camera=0, on=False)
        assert pages[0].told("error")["message"] == "the recorder is still at work"


def test_nothing_is_listed_without_a_recorder(hub: Hub) -> None:
    assert get(hub, "/recordings")[::2] == (200, b"[]")
    assert get(hub, "/recordings/front.mp4")[0] == 404
