"""HTTP streams of JPEGs whose parts FFmpeg does not take: of another type, or of none.

FFmpeg's demuxer for them (mpjpeg) refuses every part that does not call itself image/jpeg, and
its search for bare JPEGs (mjpeg) buffers a dozen pictures before it gives the first. So the
pictures are found here by their own markers, whatever stands between them, and handed to mpjpeg
as it wants them. FFmpeg still makes the connection: it knows passwords, TLS and time limits.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from roadseg.core.errors import SourceError
from roadseg.media.picture_file import JPEG_SIGNATURE, jpeg_end

if TYPE_CHECKING:
    from av.container import InputContainer


# More than any picture takes; past it, what looked like a start was none.
_LARGEST_BYTES = 64 * 2**20


def split_jpegs(data: bytearray) -> Iterator[bytes]:
    """Take every whole JPEG from the front of `data`, with whatever stands before it.

    Thumbnails inside a picture's header do not end it. A picture that breaks off where the next
    one begins is passed over.
    """
    while True:
        start = data.find(JPEG_SIGNATURE)
        if start < 0:
            del data[: max(len(data) - len(JPEG_SIGNATURE) + 1, 0)]
            return
        del data[:start]
        end = jpeg_end(data)
        if end is None:
            if len(data) > _LARGEST_BYTES:
                del data[:1]
                continue
            return
        if end > 0:
            picture = bytes(data[:end])
            del data[:end]
            yield picture
        else:
            del data[: max(-end, 1)]


class JpegParts:
    """A file for `av.open(..., format="mpjpeg")`, with the JPEGs of a stream of bytes in it.

    Args:
        http: a container that was opened with `format="data"`.
        name: for people.
        timeout_s: how long bytes may arrive without a picture in them.

    Attributes:
        timeout_s: as given; it may be changed.

    Raises (when read):
        SourceError: no picture came for `timeout_s`.
    """

    def __init__(self, http: InputContainer, name: str, timeout_s: float) -> None:
        self._http = http
        self._name = name
        self.timeout_s = timeout_s
        self._parts = self._split()
        self._rest = memoryview(b"")

    def _split(self) -> Iterator[bytes]:
        data = bytearray()
        last_s = time.monotonic()
        for packet in self._http.demux():
            data += bytes(packet)
            for jpeg in split_jpegs(data):
                head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                yield head.encode() + jpeg + b"\r\n"
                last_s = time.monotonic()
            if time.monotonic() - last_s > self.timeout_s:
                raise SourceError(
                    f"lost {self._name}: data arrives, but no picture in it for "
                    f"{self.timeout_s:g} s",
                    fix="check the address and the camera's settings",
                )

    def read(self, size: int) -> bytes:
        """The next bytes, `size` at most; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._parts, b""))
        data = bytes(self._rest[:size])
        self._rest = self._rest[size:]
        return data
