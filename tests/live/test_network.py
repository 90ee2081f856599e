"""Real sources: files played in real time, and a server on this machine that is killed, moved and
brought back."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.live.config import LiveConfig, SourceConfig
from roadseg.live.configured import configured_writers
from roadseg.live.events import CameraState, HealthEvent, LossReason, StateChange
from roadseg.live.run import LiveRun
from roadseg.live.station import LiveEvent
from roadseg.loading.segmenter import Segmenter
from roadseg.media.sources.base import Source
from roadseg.media.sources.opening import open_source
from tests.support.live import PATIENCE_S, RealTime, eventually
from tests.support.rtsp import RtspServer

pytestmark = pytest.mark.usefixtures("no_thread_left")

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLE = ROOT / "samples" / "drive.mp4"


class MjpegServer:
    """Motion JPEG over HTTP to whoever asks, until it is killed.

    Args:
        port: 0 for any.
        size_hw: of the pictures.
        count: pictures that each caller gets before the connection is closed.
    """

    def __init__(
        self, port: int = 0, size_hw: tuple[int, int] = (48, 64), count: int = 10**6
    ) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        _, self._jpeg = cv2.imencode(".jpg", np.full((*size_hw, 3), 90, np.uint8))
        self._count = count
        self._killed = threading.Event()
        self._callers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def kill(self) -> None:
        self._killed.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for caller in self._callers:
            with suppress(OSError):
                caller.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE_S)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self._callers.append(caller)
                thread = threading.Thread(target=self._serve, args=(caller,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, caller: socket.socket) -> None:
        data = self._jpeg.tobytes()
        head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        with caller, suppress(OSError):
            caller.recv(4096)
            caller.sendall(
                b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n"
            )
            for _ in range(self._count):
                caller.sendall(head + data + b"\r\n")
                if self._killed.wait(0.02):
                    return


class Running:
    """A run in a thread."""

    def __init__(self, *sources: SourceConfig) -> None:
        self.events: list[LiveEvent] = []
        self.run = LiveRun(
            Segmenter(backend="fake", size_hw=(32, 32)), sources, on_event=self.events.append
        )
        self._thread = threading.Thread(target=self.run.run)
        self._thread.start()

    def count(self, state: CameraState, reason: LossReason | None = None) -> int:
        changes = [e for e in self.events if isinstance(e, StateChange) and e.state is state]
        return sum(1 for e in changes if reason is None or e.reason is reason)

    def stop(self) -> None:
        self.run.stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        assert self.run.report().pending == 0


def test_a_server_that_is_killed_and_comes_back_with_another_size() -> None:
    first = MjpegServer()
    config = SourceConfig(
        "front",
        f"http://user:hunter2@127.0.0.1:{first.port}/v",
        retry_first=0.05,
        retry_most=0.1,
    )
    live = Running(config)
    station = live.run.stations[0]
    eventually(lambda: station.tally.shown >= 5)
    assert station.info is not None
    assert station.info.size_hw == (48, 64)
    first.kill()
    eventually(lambda: live.count(CameraState.LOST, LossReason.REFUSED) >= 2)
    shown = station.tally.shown
    second = MjpegServer(first.port, (96, 128))
    eventually(lambda: station.tally.shown >= shown + 5)
    assert station.info.size_hw == (96, 128)
    assert station.newest is not None
    assert station.newest.label_map.geometry.source_hw == (96, 128)
    assert live.count(CameraState.LIVE) == 2
    live.stop()
    second.kill()
    assert "hunter2" not in " ".join(str(event) for event in live.events)


def test_an_rtsp_camera_that_is_switched_off_and_on_again() -> None:
    first = RtspServer({"RTP/AVP/TCP": "461 Unsupported Transport"})
    config = SourceConfig(
        "front",
        f"rtsp://user:hunter2@127.0.0.1:{first.port}/live",
        timeout=2.0,
        retry_first=0.05,
        retry_most=0.1,
    )
    live = Running(config)
    station = live.run.stations[0]
    eventually(lambda: station.tally.shown >= 5)
    first.close()
    eventually(lambda: live.count(CameraState.LOST, LossReason.REFUSED) >= 1)
    shown = station.tally.shown
    second = RtspServer({"RTP/AVP/TCP": "461 Unsupported Transport"}, first.port)
    eventually(lambda: station.tally.shown >= shown + 5)
    assert live.count(CameraState.LIVE) >= 2
    live.stop()
    second.close()
    said = " ".join(str(event) for event in live.events)
    assert "hunter2" not in said
    assert "rtsp://***@127.0.0.1" in said


def test_fifty_connections_leave_threads_and_descriptors_where_they_were() -> None:
    server = MjpegServer(count=3)
    config = SourceConfig(
        "front", f"http://127.0.0.1:{server.port}/v", retry_first=0.001, retry_most=0.001
    )
    live = Running(config)

    def open_now() -> tuple[int, int]:
        files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        return threading.active_count(), files

    report = live.run.report
    eventually(lambda: report().sources[0].connects >= 5)
    least = open_now()
    seen: list[tuple[int, int]] = []
    for connects in range(10, 56):
        eventually(lambda count=connects: report().sources[0].connects >= count)  # type: ignore[misc]
        seen.append(open_now())
    # One connection more or less may be open at the moment of looking.
    assert min(threads for threads, _ in seen[-10:]) <= least[0] + 2
    assert min(files for _, files in seen[-10:]) <= least[1] + 2
    live.stop()
    server.kill()


def test_files_played_as_cameras_beside_a_dead_one(tmp_path: Path) -> None:
    def opener(config: SourceConfig) -> Source:
        source = open_source(config.url)
        return source if config.name == "missing" else RealTime(source)

    clips = [
        SourceConfig(name, str(SAMPLE), policy="latest", output=str(tmp_path / f"{name}.mp4"))
        for name in ("one", "two", "three")
    ]
    sources = (*clips, SourceConfig("missing", "rtsp://no-such-host.invalid/1"))
    config = LiveConfig(sources, alpha=0.3)
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    events: list[LiveEvent] = []
    run = LiveRun(
        segmenter,
        sources,
        writers=configured_writers(config, segmenter),
        on_event=events.append,
        opener=opener,
    )
    thread = threading.Thread(target=run.run)
    thread.start()
    for station in run.stations[:3]:
        eventually(lambda tally=station.tally: tally.shown >= 30)  # type: ignore[misc]
    eventually(lambda: any(isinstance(e, StateChange) and e.source == "missing" for e in events))
    run.stop()
    thread.join(PATIENCE_S)
    report = run.report()
    assert report.pending == 0
    for clip in report.sources[:3]:
        assert clip.age.p99 is not None
        assert clip.age.p99 <= 0.3
        with open_source(str(tmp_path / f"{clip.name}.mp4")) as written:
            assert written.info.size_hw == (360, 480)
            assert sum(1 for _ in iter(written.read, None)) > 0
    faults = {e.source for e in events if isinstance(e, HealthEvent)}
    assert faults <= {"missing"}


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this system lists no threads")
def test_lost_connections_leave_no_decoder_behind() -> None:
    """Each has threads of its own; nobody may have to wait for a collection of garbage.

    In a process of its own: in this one, what earlier tests used has threads that come and go.
    """
    code = "from tests.live.test_network import lose_connections as lose; lose()"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def lose_connections() -> None:
    """Six of them, and wait until there are as many threads as before."""
    server = MjpegServer(count=3)
    gc.collect()
    gc.disable()
    try:
        before = len(os.listdir("/proc/self/task"))
        url = f"http://127.0.0.1:{server.port}/"
        live = Running(SourceConfig("a", url, retry_first=0.01, retry_most=0.01))
        eventually(lambda: live.run.report().sources[0].connects >= 6)
        assert len(os.listdir("/proc/self/task")) > before
        live.stop()
        eventually(lambda: len(os.listdir("/proc/self/task")) <= before)
    finally:
        gc.enable()
        server.kill()
