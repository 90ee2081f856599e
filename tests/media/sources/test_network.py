"""Opening streams: JPEGs in parts of any type, and no password in a traceback."""

from __future__ import annotations

import json
import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SourceError
from roadseg.media.sources import network
from roadseg.media.sources.base import Source
from roadseg.media.sources.jpeg_stream import split_jpegs
from roadseg.media.sources.opening import open_source
from roadseg.run.video import RunOptions, open_loop

_SECRET = "hunter2"


@pytest.mark.parametrize("scheme", ["rtsp", "RTSP", "http"])
@pytest.mark.parametrize("password", [_SECRET, f"p@/?#:%{_SECRET}", f"{_SECRET} x"])
def test_tracebacks_and_ffmpeg_keep_the_password(
    scheme: str, password: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(SourceError) as caught:
        open_source(f"{scheme}://u:{password}@127.0.0.1:{port}/x?pwd={_SECRET}", timeout_s=5)
    # What the tests' own call looks like is not in it: tracebacks quote the code, not its values.
    shown = "".join(traceback.format_exception(caught.value))
    out, err = capfd.readouterr()
    assert _SECRET not in shown + out + err
    assert f"***@127.0.0.1:{port}/x?pwd=***" in shown


def jpeg(i: int, size_hw: tuple[int, int] = (32, 48)) -> bytes:
    noise = np.random.default_rng(i).integers(0, 60, (*size_hw, 3), dtype=np.uint8)
    good, data = cv2.imencode(".jpg", noise + np.uint8(20 * i))
    assert good
    return data.tobytes()


JPEGS = [jpeg(i) for i in range(8)]


def body(part_type: str | None, *, length: bool, boundary: str) -> bytes:
    parts = []
    for data in JPEGS:
        head = f"{boundary}\r\n"
        head += f"Content-Type: {part_type}\r\n" if part_type else ""
        head += f"Content-Length: {len(data)}\r\n" if length else ""
        parts.append(head.encode() + b"\r\n" + data + b"\r\n")
    return b"".join(parts)


@pytest.fixture
def serve() -> Iterator[Callable[..., str]]:
    """Starts a server that gives `reply` to every caller and then holds the line."""
    sockets: list[socket.socket] = []

    def start(content: bytes, content_type: str | None) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        sockets.append(listener)
        kind = f"Content-Type: {content_type}\r\n" if content_type else ""

        def answer() -> None:
            while True:
                try:
                    caller, _ = listener.accept()
                    sockets.append(caller)
                    caller.recv(65536)
                    caller.sendall(f"HTTP/1.1 200 OK\r\n{kind}\r\n".encode() + content)
                except OSError:  # noqa: PERF203  (the caller has left, or the test has ended)
                    if listener.fileno() < 0:
                        return

        threading.Thread(target=answer, daemon=True).start()
        return f"http://u:{_SECRET}@127.0.0.1:{listener.getsockname()[1]}/cam"

    yield start
    for item in sockets:
        item.close()


def brightness(source: Source, count: int) -> list[int]:
    with source:
        frames = [source.read() for _ in range(count)]
    return [round(float(f.image_bgr.mean())) for f in frames if f is not None]


EXPECTED = [
    round(float(cv2.imdecode(np.frombuffer(j, np.uint8), cv2.IMREAD_COLOR).mean())) for j in JPEGS
]


@pytest.mark.parametrize("length", [True, False], ids=["length", "no-length"])
@pytest.mark.parametrize(
    "part_type",
    ["image/jpeg", "image/jpg", "application/octet-stream", "video/jpeg", "text/plain", None],
)
@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/x-mixed-replace;boundary=frame", "--frame"),
        ('multipart/x-mixed-replace; boundary="frame"', "--frame"),
        ("multipart/x-mixed-replace; boundary=--frame", "--frame"),
        ("multipart/x-mixed-replace; boundary=--frame", "----frame"),
        ("multipart/x-mixed-replace", "--anything"),
    ],
)
def test_jpegs_in_parts_of_any_type_play(
    serve: Callable[..., str], content_type: str, boundary: str, part_type: str | None, length: bool
) -> None:
    url = serve(body(part_type, length=length, boundary=boundary), content_type)
    seen = brightness(open_source(url, timeout_s=5), len(JPEGS) - 2)
    assert seen == pytest.approx(EXPECTED[: len(seen)], abs=2)


def test_parts_without_a_jpeg_are_refused(serve: Callable[..., str]) -> None:
    content = b"--frame\r\nContent-Type: text/plain\r\n\r\nhello\r\n" * 50
    url = serve(content, "multipart/x-mixed-replace;boundary=frame")
    with pytest.raises(SourceError) as caught:
        open_source(url, timeout_s=0.5)
    assert str(caught.value).startswith("cannot open http://***@127.0.0.1:")
    assert _SECRET not in str(caught.value)


def test_jpegs_in_a_stream_of_no_type_play(serve: Callable[..., str]) -> None:
    content = body("image/jpg", length=False, boundary="--frame") * 100
    seen = brightness(open_source(serve(content, None), timeout_s=20), len(JPEGS))
    assert seen == pytest.approx(EXPECTED, abs=2)


def test_parts_of_another_type_are_lost_when_they_stop(serve: Callable[..., str]) -> None:
    url = serve(
        body("image/jpg", length=True, boundary="--b"), "multipart/x-mixed-replace;boundary=b"
    )
    with (
        open_source(url, timeout_s=0.5) as source,
        pytest.raises(SourceError, match=r"^lost http://\*\*\*@.*: no data for 0.5 s"),
    ):
        list(iter(source.read, None))


def test_no_password_is_in_what_is_said_when_a_stream_is_lost(
    serve: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url = serve(body("image/jpeg", length=True, boundary="--b"), "multipart/x-mixed-replace")
    whole_open = network.open_url
    monkeypatch.setattr(
        network, "open_url", lambda url, **options: whole_open(url, **options | {"timeout_s": 0.5})
    )
    caplog.set_level("DEBUG")
    output = tmp_path / "out.mp4"
    options = RunOptions(f"{url}?pwd={_SECRET}", output, backend="fake")
    with open_loop(options) as loop:
        with pytest.raises(SourceError, match=r"^lost http://\*\*\*@127.0.0.1:") as caught:
            loop.run()
        stats = json.dumps(loop.stats().to_json())
    said = "".join(traceback.format_exception(caught.value))
    assert "lost http://" in said
    assert _SECRET not in said + stats + caplog.text


class TestSplitting:
    def test_bytes_may_come_in_any_pieces(self) -> None:
        stream = b"noise\xff\xd8" + b"\r\n--x\r\n\r\n".join(JPEGS) + b"tail"
        for step in (1, 7, 1000, len(stream)):
            data, found = bytearray(), []
            for at in range(0, len(stream), step):
                data += stream[at : at + step]
                found += list(split_jpegs(data))
            assert found == JPEGS

    def test_a_thumbnail_does_not_end_the_picture(self) -> None:
        small = jpeg(1, (8, 8))
        exif = b"\xff\xe1" + (len(small) + 2).to_bytes(2, "big") + small
        whole = JPEGS[0][:2] + exif + JPEGS[0][2:]
        assert list(split_jpegs(bytearray(whole + JPEGS[1]))) == [whole, JPEGS[1]]

    def test_progressive_pictures_and_restart_marks(self) -> None:
        image = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 2]
        data = cv2.imencode(".jpg", image, options)[1].tobytes()
        assert list(split_jpegs(bytearray(data + data))) == [data, data]

    def test_a_picture_that_breaks_off_is_passed_over(self) -> None:
        half = JPEGS[0][: len(JPEGS[0]) // 2]
        assert list(split_jpegs(bytearray(half + JPEGS[1] + JPEGS[2]))) == JPEGS[1:3]

    def test_no_picture_leaves_nothing_behind(self) -> None:
        data = bytearray(b"x" * 100_000)
        assert list(split_jpegs(data)) == []
        assert len(data) <= 2
