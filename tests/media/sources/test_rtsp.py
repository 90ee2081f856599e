"""RTSP over TCP or UDP, against a server in this file."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction

import av
import numpy as np
import pytest

from roadseg.core.errors import SourceError
from roadseg.media.sources.opening import open_source

_SECRET = "hunter2"
_NO_TCP = {"RTP/AVP/TCP": "461 Unsupported Transport"}
_NOTHING = {"RTP/AVP": "461 Unsupported Transport"}

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "a=control:track1\r\n"
)


class RtspServer:
    """One H.264 stream of grey pictures over UDP, to whoever sets it up, until it is closed.

    Args:
        refuse: statuses for SETUP requests, by what their Transport header holds.

    Attributes:
        port: on 127.0.0.1.
        requests: first line of every request, with its Transport header where it has one.
    """

    def __init__(self, refuse: dict[str, str]) -> None:
        self.requests: list[str] = []
        self._refuse = refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._callers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()
        self._start(self._accept)

    def close(self) -> None:
        self._closed.set()
        for item in (self._listener, *self._callers):
            with contextlib.suppress(OSError):
                item.shutdown(socket.SHUT_RDWR)
            item.close()
        for thread in self._threads:
            thread.join(10)

    def _start(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._listener.accept()
                self._callers.append(caller)
                self._start(self._serve, caller)

    def _serve(self, caller: socket.socket) -> None:
        client_port = 0
        waiting = b""
        with contextlib.suppress(OSError):
            while data := caller.recv(65536):
                waiting += data
                while b"\r\n\r\n" in waiting:
                    request, _, waiting = waiting.partition(b"\r\n\r\n")
                    text = request.decode()
                    client_port = self._answer(caller, text, client_port)

    def _answer(self, caller: socket.socket, request: str, client_port: int) -> int:
        verb = request.split()[0]
        transport = re.search(r"^Transport: *(.*?)\r?$", request, re.MULTILINE)
        wanted = transport[1] if transport else ""
        self.requests.append(f"{verb} {wanted}".strip())
        number = re.search(r"^CSeq: *(\d+)", request, re.MULTILINE)
        status, headers, body = "200 OK", [f"CSeq: {number[1] if number else 0}"], ""
        if verb == "OPTIONS":
            headers.append("Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")
        elif verb == "DESCRIBE":
            body = _SDP
            headers.append("Content-Type: application/sdp")
        elif verb == "SETUP":
            refused = [s for key, s in self._refuse.items() if key in wanted]
            ports = re.search(r"client_port=(\d+)-(\d+)", wanted)
            if refused:
                status = refused[0]
            elif ports:
                client_port = int(ports[1])
                headers += ["Session: 1", f"Transport: {wanted};server_port=40000-40001"]
        elif verb == "PLAY":
            headers.append("Session: 1")
        headers.append(f"Content-Length: {len(body)}")
        head = "\r\n".join([f"RTSP/1.0 {status}", *headers])
        caller.sendall(f"{head}\r\n\r\n{body}".encode())
        if verb == "PLAY":
            self._start(self._send, client_port)
        return client_port

    def _send(self, client_port: int) -> None:
        with av.open(f"rtp://127.0.0.1:{client_port}", "w", format="rtp") as output:
            stream = output.add_stream(
                "libx264", rate=25, options={"tune": "zerolatency", "g": "1"}
            )
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for i in range(10_000):
                if self._closed.wait(0.01):
                    break
                image = np.full((48, 64, 3), 20 + i % 200, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(image, format="bgr24")
                frame.pts, frame.time_base = i, Fraction(1, 25)
                with contextlib.suppress(OSError):  # the client has left
                    output.mux(stream.encode(frame))


@pytest.fixture
def rtsp() -> Iterator[Callable[[dict[str, str]], RtspServer]]:
    servers: list[RtspServer] = []

    def start(refuse: dict[str, str]) -> RtspServer:
        servers.append(RtspServer(refuse))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def asked_for(server: RtspServer) -> list[str]:
    return ["TCP" if "TCP" in r else "UDP" for r in server.requests if r.startswith("SETUP")]


@pytest.mark.parametrize("refusal", ["461 Unsupported Transport", "400 Bad Request", "500 Oops"])
def test_rtsp_that_refuses_tcp_plays_over_udp(
    rtsp: Callable[..., RtspServer], refusal: str
) -> None:
    server = rtsp({"RTP/AVP/TCP": refusal})
    url = f"rtsp://u:{_SECRET}@127.0.0.1:{server.port}/live"
    with open_source(url, timeout_s=20, max_frames=3) as source:
        assert (source.info.kind, source.info.size_hw) == ("live", (48, 64))
        assert source.info.name == f"rtsp://***@127.0.0.1:{server.port}/live"
        assert len(list(iter(source.read, None))) == 3
    assert asked_for(server) == ["TCP", "UDP"]


def test_rtsp_over_udp_alone(rtsp: Callable[..., RtspServer]) -> None:
    server = rtsp({})
    url = f"rtsp://127.0.0.1:{server.port}/live"
    with open_source(url, timeout_s=20, max_frames=1, rtsp_transport="udp") as source:
        assert source.read() is not None
    assert asked_for(server) == ["UDP"]


@pytest.mark.parametrize(
    ("transport", "refuse", "asked", "tried"),
    [
        ("tcp", _NO_TCP, ["TCP"], "TCP"),
        ("udp", _NOTHING, ["UDP"], "UDP"),
        ("auto", _NOTHING, ["TCP", "UDP"], "TCP and UDP"),
    ],
)
def test_a_failure_says_over_what_rtsp_was_tried(
    rtsp: Callable[..., RtspServer],
    transport: str,
    refuse: dict[str, str],
    asked: list[str],
    tried: str,
) -> None:
    server = rtsp(refuse)
    with pytest.raises(SourceError) as caught:
        open_source(
            f"rtsp://127.0.0.1:{server.port}/x",
            rtsp_transport=transport,  # type: ignore[arg-type]
        )
    assert str(caught.value) == (
        f"cannot open rtsp://127.0.0.1:{server.port}/x: it refuses this transport (tried RTSP "
        f'over {tried}); try rtsp_transport="tcp"|"udp", or check '
        "the camera's RTSP settings"
    )
    assert asked_for(server) == asked


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ("401 Unauthorized", "check the user name and password in the URL"),
        ("404 Not Found", "check the path in the URL"),
    ],
)
def test_rtsp_that_refuses_the_caller_is_not_asked_twice(
    rtsp: Callable[..., RtspServer], status: str, why: str
) -> None:
    server = rtsp({"RTP/AVP": status})
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://u:p%23{_SECRET}@127.0.0.1:{server.port}/x")
    assert str(caught.value).endswith(f"(tried RTSP over TCP); {why}")
    assert asked_for(server) == ["TCP"]


@pytest.mark.parametrize("character", list("@:%"))
def test_special_characters_in_the_password_are_explained_where_opening_fails(
    rtsp: Callable[..., RtspServer], character: str
) -> None:
    server = rtsp({"RTP/AVP": "401 Unauthorized"})
    with pytest.raises(SourceError) as caught:
        open_source(f"rtsp://u:p{character}{_SECRET}@127.0.0.1:{server.port}/x")
    assert _SECRET not in str(caught.value)
    assert "(percent-encoded)" in str(caught.value)
