"""Cameras led by hand, and viewers without a browser, for tests of the page."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame
from roadseg.live.config import SourceConfig
from roadseg.live.events import CameraState, LossReason, StateChange
from roadseg.live.mailbox import Bell
from roadseg.live.station import Station
from roadseg.live.web.hub import Hub
from roadseg.live.web.message import Unpacked, unpack
from tests.support.live import PATIENCE_S, FakeSource

SIZE_HW = (96, 160)
NETWORK_HW = (48, 80)


Serve = Callable[..., Hub]
"""Starts a hub over the cameras of a test, with options of `Hub`."""


class Camera:
    """A station, and what a camera and a network would do to it."""

    def __init__(self, name: str) -> None:
        self.station = Station(SourceConfig(name, "0", max_staleness=PATIENCE_S), Bell())
        self.station.opened(FakeSource(size_hw=SIZE_HW).info)
        self._index = 0

    def change(self, state: CameraState, reason: LossReason | None = None) -> None:
        now_s = time.monotonic()
        self.station.changed(StateChange(now_s, time.time(), self.station.name, state, reason))

    def show(self, shade: int = 100, class_id: int = 3, image_bgr: Any = None) -> None:
        """One frame of one shade, all of one class, through the whole run."""
        if image_bgr is None:
            image_bgr = np.full((*SIZE_HW, 3), shade, np.uint8)
        size_hw = image_bgr.shape[:2]
        frame = Frame(image_bgr, self._index, self._index / 25, time.monotonic())
        self._index += 1
        self.station.tally.read += 1
        self.station.arrived(frame)
        ids = np.full(NETWORK_HW, class_id, np.uint8)
        self.station.show(frame, LabelMap(ids, Geometry(size_hw, NETWORK_HW)))


class Page:
    """A viewer without a browser."""

    def __init__(self, hub: Hub, **options: Any) -> None:
        address = f"ws://127.0.0.1:{hub.port}/live"
        self._opening: AbstractContextManager[ClientConnection] = connect(
            address, max_size=None, proxy=None, **options
        )

    def say(self, **message: Any) -> None:
        self.socket.send(json.dumps(message))

    def watch(self, *cameras: int, rung: int = 0) -> None:
        self.say(type="watch", cameras={str(camera): rung for camera in cameras})

    def ack(self, frame: Unpacked) -> None:
        self.say(type="ack", camera=frame.camera, number=frame.number)

    def told(self, kind: str) -> dict[str, Any]:
        """The next message of a kind; frames are passed over."""
        while True:
            message = self.socket.recv(PATIENCE_S)
            if isinstance(message, str) and json.loads(message)["type"] == kind:
                answer: dict[str, Any] = json.loads(message)
                return answer

    def frame(self, patience_s: float = PATIENCE_S) -> Unpacked:
        """The next frame; what is told meanwhile is passed over."""
        ends_s = time.monotonic() + patience_s
        while True:
            message = self.socket.recv(max(ends_s - time.monotonic(), 0))
            if isinstance(message, bytes):
                return unpack(message)

    def settle(self) -> None:
        """Return when the server has read all that was said before."""
        self.say(type="clock", sent=0)
        self.told("clock")

    def __enter__(self) -> Page:
        self.socket = self._opening.__enter__()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self._opening.__exit__(*exc_info)


class Line:
    """What lies between a viewer and a hub, and can die without a word: connections stay open and
    nothing comes through, as with a tunnel or a cable that was pulled.

    Attributes:
        url: of the hub, over this line.
    """

    def __init__(self, hub: Hub) -> None:
        self._to = ("127.0.0.1", hub.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}/"
        self._sockets: list[socket.socket] = []
        self._cuts = 0
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """From now on nothing comes through."""
        self._cuts += 1
        self._is_cut = True

    def mend(self) -> None:
        """What was open ends, and new connections come through."""
        self._is_cut = False
        self._end()

    def close(self) -> None:
        # Closing alone would leave the thread in `accept`, and the address taken.
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._end()

    def _end(self) -> None:
        sockets, self._sockets = self._sockets, []
        for each in sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            far = socket.create_connection(self._to)
            self._sockets += [near, far]
            cuts = -1 if self._is_cut else self._cuts
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass, args=(one, other, cuts), daemon=True).start()

    def _pass(self, one: socket.socket, other: socket.socket, cuts: int) -> None:
        try:
            while data := one.recv(1 << 16):
                if cuts == self._cuts:
                    other.sendall(data)
            if cuts == self._cuts:
                other.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def get(hub: Hub, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (names in lower case) and body."""
    connection = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=PATIENCE_S)
    try:
        connection.request(
            "GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        answer = connection.getresponse()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


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
