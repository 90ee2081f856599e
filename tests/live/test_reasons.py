"""Why a source was lost, from real errors: sockets, files, FFmpeg."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import av
import pytest

from roadseg.core.errors import SourceError
from roadseg.live.events import LossReason
from roadseg.live.reasons import reason_of
from roadseg.media.sources.opening import open_source


@contextmanager
def answering(response: bytes | None) -> Iterator[int]:
    """A server that gives every caller this answer; with None it keeps silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    callers: list[socket.socket] = []

    def serve() -> None:
        with suppress(OSError):
            while True:
                caller, _ = listener.accept()
                callers.append(caller)
                if response is not None:
                    caller.recv(4096)
                    caller.sendall(response)
                    caller.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield int(listener.getsockname()[1])
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for caller in callers:
        caller.close()
    thread.join(60)


def why_not(spec: str, timeout_s: float = 20) -> LossReason:
    with pytest.raises(SourceError) as caught:
        open_source(spec, timeout_s=timeout_s).close()
    return reason_of(caught.value, spec, opened=False, silent=False)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("401 Unauthorized", LossReason.LOGIN),
        ("403 Forbidden", LossReason.LOGIN),
        ("404 Not Found", LossReason.NOT_FOUND),
        ("400 Bad Request", LossReason.REFUSED),
        ("500 Internal Server Error", LossReason.PROTOCOL),
    ],
)
def test_http_statuses(status: str, reason: LossReason) -> None:
    answer = f"HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
    with answering(answer) as port:
        assert why_not(f"http://127.0.0.1:{port}/x") is reason


def test_garbage_is_a_matter_of_the_codec() -> None:
    body = b"garbage " * 5000
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with answering(head.encode() + body) as port:
        assert why_not(f"http://127.0.0.1:{port}/x") is LossReason.CODEC


def test_a_server_that_keeps_silent_times_out() -> None:
    with answering(None) as port:
        assert why_not(f"http://127.0.0.1:{port}/x", 0.5) is LossReason.TIMEOUT


def test_a_closed_port_refuses() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert why_not(f"rtsp://127.0.0.1:{port}/x") is LossReason.REFUSED


def test_an_unknown_host_is_not_found() -> None:
    assert why_not("rtsp://no-such-host.invalid/x") is LossReason.NOT_FOUND


def test_missing_files_and_cameras_are_not_found() -> None:
    assert why_not("no/such/file.mp4") is LossReason.NOT_FOUND
    assert why_not("/dev/v4l/by-id/none") is LossReason.NOT_FOUND
    assert why_not("9998") is LossReason.NOT_FOUND


def test_a_file_without_pictures_is_a_matter_of_the_codec(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video at all" * 100)
    assert why_not(str(tmp_path / "a.mp4")) is LossReason.CODEC


def caused(cause: BaseException | None) -> SourceError:
    error = SourceError("lost")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("cause", "silent", "reason"),
    [
        (av.error.ExitError(0, "x"), False, LossReason.TIMEOUT),
        (OSError(5, "Input/output error"), False, LossReason.ENDED),
        (av.error.ConnectionResetError(104, "x"), False, LossReason.ENDED),
        (av.error.InvalidDataError(0, "x"), False, LossReason.CODEC),
        (OSError(113, "No route to host"), False, LossReason.NOT_FOUND),
        (None, False, LossReason.ENDED),
        (None, True, LossReason.CODEC),
    ],
)
def test_losses_of_open_sources(
    cause: BaseException | None, silent: bool, reason: LossReason
) -> None:
    assert reason_of(caused(cause), "rtsp://x/1", opened=True, silent=silent) is reason
