"""Viewers without a browser."""

from __future__ import annotations

import contextlib
import json
import threading
import time

from roadseg.live.web.message import unpack


class Viewer:
    """Looks at cameras as the page does: it acknowledges every frame that it gets.

    Args:
        port: of the page, on this machine.
        cameras: their numbers.

    Attributes:
        frames: that came.
        ages_s: from the camera to here, by the clock of this machine, which is the server's.
    """

    def __init__(self, port: int, cameras: tuple[int, ...] = (0,)) -> None:
        from websockets.sync.client import connect

        self.frames = 0
        self.ages_s: list[float] = []
        self._socket = connect(f"ws://127.0.0.1:{port}/live", max_size=None, proxy=None)
        watched = {str(camera): 0 for camera in cameras}
        self._socket.send(json.dumps({"type": "watch", "cameras": watched}))
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        from websockets.exceptions import ConnectionClosed

        with contextlib.suppress(ConnectionClosed):
            for message in self._socket:
                if isinstance(message, str):
                    continue
                frame = unpack(message)
                self.frames += 1
                self.ages_s.append(time.monotonic() - frame.captured_s)
                ack = {"type": "ack", "camera": frame.camera, "number": frame.number}
                self._socket.send(json.dumps(ack))

    def close(self) -> None:
        """Go away."""
        self._socket.close()
        self._thread.join(10)
