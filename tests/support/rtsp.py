"""A server of RTSP on this machine."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from fractions import Fraction

import av
import numpy as np

_SDP = (
    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=test\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\n"
    "a=control:track1\r\n"
)


class RtspServer:
    """One H.264 stream of grey pictures over UDP, to whoever sets it up, until it is closed.

    Args:
        refuse: statuses for SETUP requests, by what their Transport header holds.
        port: on 127.0.0.1; 0 takes any that is free.

    Attributes:
        port: on 127.0.0.1.
        requests: first line of every request, with its Transport header where it has one.
    """

    def __init__(self, refuse: dict[str, str], port: int = 0) -> None:
        self.requests: list[str] = []
        self._refuse = refuse
        self._listener = socket.create_server(("127.0.0.1", port))
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
