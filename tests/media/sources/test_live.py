"""Webcams and network streams: time limits, lost connections, no secrets in messages.

The servers are real sockets on this machine. Time limits are a fraction of a second; no test
asserts how long anything took, a limit that does not work would hang it.
"""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SourceError, UsageError
from roadseg.core.types import Frame
from roadseg.media.sinks.default_output import default_name
from roadseg.media.sources import camera as camera_source
from roadseg.media.sources import network
from roadseg.media.sources.base import Source
from roadseg.media.sources.opening import open_source

MakeClip = Callable[..., Path]
Serve = Callable[..., int]

_SECRET = "hunter2"


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(reply, hang=...)` starts a server that answers each call with `reply` and then
    hangs up, or holds the line. Returns the port."""
    listeners: list[socket.socket] = []
    held: list[socket.socket] = []

    def start(reply: bytes, *, hang: bool) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def answer() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                except OSError:
                    return
                held.append(caller)
                try:
                    if reply:
                        caller.recv(65536)
                        caller.sendall(reply)
                    if not hang:
                        caller.close()
                except OSError:
                    continue  # the client left first

        threading.Thread(target=answer, daemon=True).start()
        return int(listener.getsockname()[1])

    yield start
    for item in (*listeners, *held):
        item.close()


def http(body: bytes, content_type: str, *, length: int | None = None) -> bytes:
    size = f"Content-Length: {length}\r\n" if length is not None else ""
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\n{size}\r\n".encode() + body


def mjpeg_stream(count: int) -> bytes:
    """What webcams and browsers speak: JPEGs, one after another."""
    parts = []
    for i in range(count):
        good, jpeg = cv2.imencode(".jpg", np.full((16, 24, 3), 40 * (i % 6), dtype=np.uint8))
        assert good
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
        parts.append(head.encode() + jpeg.tobytes() + b"\r\n")
    return http(b"".join(parts), "multipart/x-mixed-replace;boundary=frame")


def drain(source: Source, frames: list[Frame]) -> None:
    while (frame := source.read()) is not None:
        frames.append(frame)


def refused(spec: str, timeout_s: float = 5.0) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(spec, timeout_s=timeout_s)
    assert _SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_server_that_never_answers(serve: Serve, scheme: str) -> None:
    port = serve(b"", hang=True)
    text = refused(f"{scheme}://admin:{_SECRET}@127.0.0.1:{port}/live", timeout_s=0.3)
    tried = " (tried RTSP over TCP)" if scheme == "rtsp" else ""
    assert text == (
        f"cannot open {scheme}://***@127.0.0.1:{port}/live: no answer within 0.3 s{tried}: "
        "check the address, the port and that the camera is on"
    )


def test_server_that_answers_and_then_sends_nothing(serve: Serve) -> None:
    port = serve(http(b"", "video/mp2t"), hang=True)
    assert refused(f"http://127.0.0.1:{port}/x?key={_SECRET}", timeout_s=0.3) == (
        f"cannot open http://127.0.0.1:{port}/x?key=***: no answer within 0.3 s: "
        "check the address, the port and that the camera is on"
    )


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_closed_port(scheme: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    tried = " (tried RTSP over TCP)" if scheme == "rtsp" else ""
    assert refused(f"{scheme}://127.0.0.1:{port}/live") == (
        f"cannot open {scheme}://127.0.0.1:{port}/live: connection refused{tried}: "
        "check the address, the port and that the camera is on"
    )


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_a_host_that_nobody_knows(scheme: str) -> None:
    tried = " (tried RTSP over TCP and UDP)" if scheme == "rtsp" else ""
    assert refused(f"{scheme}://u:{_SECRET}@no-such-host.invalid/live") == (
        f"cannot open {scheme}://***@no-such-host.invalid/live: "
        f"the host no-such-host.invalid is not found{tried}: "
        "check the address, the port and that the camera is on"
    )


@pytest.mark.parametrize(
    ("status", "why", "advice"),
    [
        (
            "401 Unauthorized",
            "server returned 401 Unauthorized (authorization failed)",
            "check the user name and password in the URL",
        ),
        ("404 Not Found", "server returned 404 Not Found", "check the path in the URL"),
    ],
)
def test_server_that_refuses(serve: Serve, status: str, why: str, advice: str) -> None:
    port = serve(f"HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n".encode(), hang=False)
    assert refused(f"http://u:{_SECRET}@127.0.0.1:{port}/x") == (
        f"cannot open http://***@127.0.0.1:{port}/x: {why}: {advice}"
    )


def test_page_instead_of_a_video(serve: Serve) -> None:
    page = b"<html>" + b"hello " * 50
    port = serve(http(page, "text/html", length=len(page)), hang=False)
    assert refused(f"http://127.0.0.1:{port}/x") == (
        f"cannot open http://127.0.0.1:{port}/x: what it sends is not a video: "
        "check the address, the port and that the camera is on"
    )


def test_unknown_scheme() -> None:
    assert refused(f"ftp://u:{_SECRET}@host/a.mp4") == (
        "cannot open ftp://***@host/a.mp4: spec takes a video file, a webcam number, an "
        "rtsp:// or http(s):// URL, an image, a folder"
    )


def test_time_limit_must_be_positive() -> None:
    with pytest.raises(UsageError) as caught:
        open_source("http://127.0.0.1/x", timeout_s=0)
    assert str(caught.value) == "a time limit of 0 s is none: give a positive number"


def test_live_stream_lost_when_the_other_side_hangs_up(serve: Serve) -> None:
    port = serve(mjpeg_stream(6), hang=False)

    with open_source(f"http://u:{_SECRET}@127.0.0.1:{port}/cam", timeout_s=5) as source:
        assert source.info.kind == "live"
        assert source.info.size_hw == (16, 24)
        assert source.info.frame_count is None
        frames: list[Frame] = []
        with pytest.raises(SourceError) as caught:
            drain(source, frames)

    assert len(frames) >= 5
    assert [f.index for f in frames] == list(range(len(frames)))
    assert frames[0].time_s == 0.0
    assert all(a.time_s < b.time_s for a, b in itertools.pairwise(frames))
    assert str(caught.value) == (
        f"lost http://***@127.0.0.1:{port}/cam: the connection was closed: "
        "check the camera and the network"
    )


def test_live_stream_that_falls_silent(serve: Serve) -> None:
    port = serve(mjpeg_stream(6), hang=True)

    source = open_source(f"http://127.0.0.1:{port}/cam", timeout_s=0.5)
    with pytest.raises(SourceError) as caught:
        drain(source, [])
    source.close()

    assert str(caught.value) == (
        f"lost http://127.0.0.1:{port}/cam: no data for 0.5 s: check the camera and the network"
    )


def test_live_stream_stops_at_max_frames(serve: Serve) -> None:
    port = serve(mjpeg_stream(10), hang=True)
    with open_source(f"http://127.0.0.1:{port}/cam", timeout_s=5, max_frames=3) as source:
        frames = list(iter(source.read, None))
        assert source.read() is None
    assert len(frames) == 3


def test_live_stream_keeps_its_own_times(serve: Serve, make_clip: MakeClip) -> None:
    times_ms = [0, 40, 90, 100, 180, 300]
    clip = make_clip("a.ts", frames=6, ticks=times_ms, time_base=Fraction(1, 1000))
    port = serve(http(clip.read_bytes(), "video/mp2t"), hang=False)

    frames: list[Frame] = []
    source = open_source(f"http://127.0.0.1:{port}/live.ts", timeout_s=5)
    with pytest.raises(SourceError) as caught:
        drain(source, frames)
    source.close()

    assert source.info.kind == "live"
    assert [f.time_s for f in frames] == pytest.approx([t / 1000 for t in times_ms])
    assert str(caught.value).startswith(f"lost http://127.0.0.1:{port}/live.ts: ")


def test_sound_of_a_live_stream_is_left_out_with_a_reason(
    serve: Serve, make_clip: MakeClip
) -> None:
    clip = make_clip("a.ts", frames=25, audio="aac")
    port = serve(http(clip.read_bytes(), "video/mp2t"), hang=False)
    with open_source(f"http://127.0.0.1:{port}/live.ts", timeout_s=5) as source:
        assert (source.info.kind, source.info.has_audio) == ("live", False)
        assert source.info.no_sound == "that of live sources is left out"


def test_http_file_of_known_length_is_read_whole(serve: Serve, make_clip: MakeClip) -> None:
    data = make_clip(frames=12, faststart=True, audio="aac").read_bytes()
    port = serve(http(data, "video/mp4", length=len(data)), hang=False)

    with open_source(f"http://127.0.0.1:{port}/a.mp4", timeout_s=5) as source:
        info = source.info
        frames = list(iter(source.read, None))

    assert (info.kind, info.path, info.has_audio, info.frame_count) == ("file", None, True, 12)
    assert len(frames) == 12
    assert source.frames_lost == 0


def picture(suffix: str) -> tuple[bytes, np.ndarray]:
    """A file's bytes, and the pixels that come out of them."""
    pixels = np.random.default_rng(1).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    good, data = cv2.imencode(suffix, pixels)
    assert good
    return data.tobytes(), cv2.imdecode(data, cv2.IMREAD_COLOR)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "A.JPG?size=full", "a.webp", "a.bmp"])
def test_a_picture_at_a_url_is_a_picture(serve: Serve, name: str) -> None:
    data, pixels = picture(Path(name.partition("?")[0]).suffix.lower())
    port = serve(http(data, "application/octet-stream", length=len(data)), hang=False)

    with open_source(f"http://u:{_SECRET}@127.0.0.1:{port}/x/{name}", timeout_s=5) as source:
        info = source.info
        frames = list(iter(source.read, None))

    assert (info.kind, info.frame_count, info.size_hw) == ("images", 1, (24, 32))
    assert (info.path, info.input_dirs) == (None, ())
    assert _SECRET not in info.name
    assert default_name(info).lower() == "a"
    (frame,) = frames
    np.testing.assert_array_equal(frame.image_bgr, pixels)


def test_a_picture_at_a_url_again_and_again(serve: Serve) -> None:
    data, pixels = picture(".png")
    port = serve(http(data, "image/png", length=len(data)), hang=False)
    url = f"http://127.0.0.1:{port}/a.png"
    with open_source(url, timeout_s=5, loop=True, max_frames=3) as source:
        frames = list(iter(source.read, None))
    assert source.read() is None
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.04, 0.08])
    np.testing.assert_array_equal(frames[2].image_bgr, pixels)
    with open_source(url, timeout_s=5, loop=True) as source:
        assert source.info.frame_count is None


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_half_a_picture_at_a_url_is_none(serve: Serve, suffix: str) -> None:
    data = picture(suffix)[0]
    data = data[: len(data) // 2]
    port = serve(http(data, "application/octet-stream", length=len(data)), hang=False)
    url = f"http://127.0.0.1:{port}/a{suffix}"
    assert refused(url, timeout_s=5) == f"cannot read {url}: it was cut off: copy it again"


def test_what_is_too_large_for_a_picture(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    data = picture(".png")[0]
    port = serve(http(data, "image/png", length=len(data)), hang=False)
    monkeypatch.setattr(network, "_LARGEST_BYTES", len(data) - 1)
    url = f"http://127.0.0.1:{port}/a.png"
    assert refused(url, timeout_s=5).startswith(f"cannot read {url}: it sends more than a picture")


def test_jpegs_without_end_are_live_whatever_the_url_is_called(serve: Serve) -> None:
    port = serve(mjpeg_stream(6), hang=True)
    with open_source(f"http://127.0.0.1:{port}/cam.jpg", timeout_s=5) as source:
        assert source.info.kind == "live"
        assert source.read() is not None


class FakeCapture:
    """Stands in for `cv2.VideoCapture`: gives `count` frames, then none."""

    def __init__(self, count: int = 3, opens: bool = True) -> None:
        self.left = count
        self.opens = opens
        self.released = False

    def isOpened(self) -> bool:
        return self.opens

    def grab(self) -> bool:
        self.left -= 1
        return self.left >= 0

    def retrieve(self) -> tuple[bool, np.ndarray]:
        return True, np.full((4, 6, 3), self.left, dtype=np.uint8)

    def get(self, _: int) -> float:
        return 29.97

    def release(self) -> None:
        self.released = True


class TestWebcam:
    @pytest.fixture
    def capture(self, monkeypatch: pytest.MonkeyPatch) -> FakeCapture:
        capture = FakeCapture()
        monkeypatch.setattr(cv2, "VideoCapture", lambda *_: capture)
        return capture

    @pytest.fixture
    def devices(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        found: list[int] = []
        monkeypatch.setattr(camera_source, "_devices", lambda: found)
        monkeypatch.setattr(camera_source, "sys", SimpleNamespace(platform="linux"))
        return found

    def test_frames_carry_the_wall_clock(self, capture: FakeCapture) -> None:
        with open_source("/dev/video2", max_frames=2) as source:
            first, second = source.read(), source.read()
            assert source.read() is None
            assert first is not None
            assert second is not None
            assert (source.info.name, source.info.kind) == ("webcam 2", "live")
            assert source.info.size_hw == (4, 6)
            assert float(source.info.rate or 0) == pytest.approx(29.97)
        assert (first.time_s, first.index, second.index) == (0.0, 0, 1)
        assert second.time_s == pytest.approx(second.captured_s - first.captured_s, abs=1e-4)
        assert capture.released

    @pytest.fixture
    def clock(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        """What the camera takes for the time: the one number in a list."""
        now_s = [100.0]
        monkeypatch.setattr(camera_source, "time", SimpleNamespace(monotonic=lambda: now_s[0]))
        return now_s

    def test_what_piled_up_while_a_network_was_compiled_is_passed_over(
        self, capture: FakeCapture, clock: list[float]
    ) -> None:
        capture.left = 100
        with open_source("0") as source:
            clock[0] += 1.0
            first, second = source.read(), source.read()
        assert first is not None
        assert second is not None
        assert (first.time_s, first.index, second.index) == (0.0, 0, 1)
        assert first.captured_s == 101.0
        assert int(first.image_bgr[0, 0, 0]) < 99 - 25, "not those of a second ago"

    def test_a_pause_is_as_long_as_it_was(self, capture: FakeCapture, clock: list[float]) -> None:
        with open_source("0") as source:
            times = []
            for pause_s in (0.0, 0.04, 25.0):
                clock[0] += pause_s
                frame = source.read()
                assert frame is not None
                times.append(frame.time_s)
        assert times == pytest.approx([0.0, 0.04, 25.04], abs=1e-4)

    def test_unplugged(self, capture: FakeCapture) -> None:
        source = open_source("0")
        with pytest.raises(SourceError) as caught:
            drain(source, [])
        assert str(caught.value) == (
            "webcam 0 gives no picture: check that it is plugged in and that no other program "
            "uses it"
        )

    def test_first_picture_missing(self, capture: FakeCapture) -> None:
        capture.left = 0
        assert refused("0").startswith("webcam 0 gives no picture: ")
        assert capture.released

    def test_none_at_all(self, capture: FakeCapture, devices: list[int]) -> None:
        capture.opens = False
        assert refused("0") == (
            "no webcam 0: no /dev/video* device found: plug one in, or give a file or URL"
        )

    def test_others_found(self, capture: FakeCapture, devices: list[int]) -> None:
        capture.opens = False
        devices += [1, 4]
        assert refused("7") == 'no webcam 7: found /dev/video1, /dev/video4: use spec="1"'

    @pytest.mark.parametrize(
        ("allowed", "text"),
        [
            (
                False,
                "no permission to use webcam 1 (/dev/video1): add yourself to the group video "
                "and log in again",
            ),
            (
                True,
                "webcam 1 (/dev/video1) cannot be opened: close the program that uses it, or name "
                "another one: this may not be a camera",
            ),
        ],
    )
    def test_present_and_refused(
        self,
        capture: FakeCapture,
        devices: list[int],
        monkeypatch: pytest.MonkeyPatch,
        allowed: bool,
        text: str,
    ) -> None:
        capture.opens = False
        devices += [1]
        monkeypatch.setattr(camera_source.os, "access", lambda *_: allowed)
        assert refused("1") == text

    def test_really_absent_and_opencv_keeps_quiet(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert refused("987").startswith("no webcam 987: ")
        out, err = capfd.readouterr()
        assert (out, err) == ("", "")


def test_http_file_whose_connection_breaks(serve: Serve, make_clip: MakeClip) -> None:
    rng = np.random.default_rng(0)
    images = list(rng.integers(0, 256, (30, 48, 64, 3), dtype=np.uint8))
    data = make_clip(images=images, faststart=True).read_bytes()
    port = serve(http(data[: len(data) // 2], "video/mp4", length=len(data)), hang=False)

    frames: list[Frame] = []
    source = open_source(f"http://127.0.0.1:{port}/a.mp4", timeout_s=5)
    with pytest.raises(SourceError) as caught:
        drain(source, frames)
    source.close()

    assert 5 <= len(frames) < 30
    assert str(caught.value).startswith(f"lost http://127.0.0.1:{port}/a.mp4: ")
    assert str(caught.value).endswith(": check the network and run it again")
