"""Recordings, from the page: begun, ended, listed and downloaded."""

from __future__ import annotations

import contextlib
import json
import threading
from pathlib import Path

import pytest

from roadseg.core.errors import SinkError
from roadseg.live.web import viewer
from roadseg.live.web.hub import Hub
from roadseg.live.web.recordings import RecordedFile
from tests.support.live import PATIENCE_S, eventually
from tests.support.web import Camera, Page, Serve, get

pytestmark = pytest.mark.usefixtures("no_thread_left")


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
