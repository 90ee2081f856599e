"""Cameras to measure with: motion JPEG over HTTP, each picture with the moment it was taken."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np

from roadseg.core.types import Image

BITS = 32
BLOCK_PX = 16
"""The code: milliseconds of the wall clock, modulo 2**32, as blocks along the top: the highest bit
first, white for 1."""


def write_code(image_bgr: Image, milliseconds: int) -> None:
    """Write a moment into a picture that is at least 512 pixels wide."""
    for bit in range(BITS):
        level = 255 * (milliseconds >> (BITS - 1 - bit) & 1)
        image_bgr[:BLOCK_PX, bit * BLOCK_PX : (bit + 1) * BLOCK_PX] = level


def read_code(image_bgr: Image) -> int:
    """The inverse, of a picture of the same size.

    >>> image = np.zeros((16, 512, 3), np.uint8)
    >>> write_code(image, 123456789)
    >>> read_code(image)
    123456789
    """
    middle = image_bgr[BLOCK_PX // 2, BLOCK_PX // 2 :: BLOCK_PX, 1][:BITS] > 127
    return int("".join("1" if bit else "0" for bit in middle), 2)


def pictures_of(clip: Path, count: int = 60, size_hw: tuple[int, int] = (540, 960)) -> list[Image]:
    """The first pictures of a clip, at a size."""
    import av

    pictures: list[Image] = []
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            image = frame.to_ndarray(format="bgr24")
            pictures.append(np.asarray(cv2.resize(image, (size_hw[1], size_hw[0])), np.uint8))
            if len(pictures) == count:
                break
    return pictures


class HttpCamera:
    """One camera, on a port of this machine, for as many as ask.

    Args:
        pictures: played again and again.
        fps: pictures a second.
        on_s, off_s: how long a flapping camera is there, and then not; 0 for one that stays.
        port: 0 takes any that is free.

    Attributes:
        url: of the stream.
        sent: pictures, to all callers.
    """

    def __init__(
        self,
        pictures: list[Image],
        fps: float = 25.0,
        *,
        on_s: float = 0.0,
        off_s: float = 0.0,
        port: int = 0,
    ) -> None:
        self.sent = 0
        self._pictures, self._fps = pictures, fps
        self._on_s, self._off_s = on_s, off_s
        self._began_s = time.monotonic()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/camera"
        self._closed = threading.Event()
        self._callers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """Hang up on everybody."""
        self._closed.set()
        for each in (self._listener, *self._callers):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _is_off(self) -> bool:
        if not self._off_s:
            return False
        return (time.monotonic() - self._began_s) % (self._on_s + self._off_s) >= self._on_s

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed.is_set():
                caller, _ = self._listener.accept()
                if self._is_off():
                    caller.close()
                    continue
                self._callers = [each for each in self._callers if each.fileno() >= 0]
                self._threads = [each for each in self._threads if each.is_alive()]
                self._callers.append(caller)
                thread = threading.Thread(target=self._serve, args=(caller,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, caller: socket.socket) -> None:
        with caller, suppress(OSError):
            caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            caller.recv(4096)
            caller.sendall(
                b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=b\r\n\r\n"
            )
            for jpeg in self._jpegs():
                head = f"--b\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                caller.sendall(head.encode() + jpeg + b"\r\n")
                self.sent += 1
                if self._closed.is_set() or self._is_off():
                    return

    def _jpegs(self) -> Iterator[bytes]:
        due_s, index = time.monotonic(), 0
        while True:
            due_s += 1 / self._fps
            time.sleep(max(due_s - time.monotonic(), 0))
            picture = self._pictures[index % len(self._pictures)].copy()
            write_code(picture, time.time_ns() // 1_000_000 % (1 << BITS))
            _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
            yield data.tobytes()
            index += 1
