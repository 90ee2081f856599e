"""Nonsense, floods and too many of anything end the connection that they come from."""

from __future__ import annotations

import contextlib
import socket

import pytest
from websockets.exceptions import ConnectionClosed

from roadseg.live.web import connections, viewer
from roadseg.live.web.hub import Hub
from tests.support.live import PATIENCE_S, eventually
from tests.support.web import Page, Serve, closed, get

pytestmark = pytest.mark.usefixtures("no_thread_left")


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
