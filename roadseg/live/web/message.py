"""One frame of one camera, as viewers get it: a header, a JPEG and the labels, deflated.

Every message stands alone, so a viewer that is slow goes on with the newest at no cost. Labels stay
labels: the page colours them as its viewer likes.

All numbers are little-endian; static/message.js reads the same layout.

    0   2s   "RS"                       44  u16 u16  picture: width, height
    2   u8   version, 1                 48  u16 u16  labels: width, height
    3   u8   state, see `STATES`        52  u32      bytes of the JPEG
    4   u16  number of the camera       56  u32      bytes of the labels (zlib)
    6   u8   rung: 0 full, 1 half       60  u16 u16  source: width, height
    7   u8   0
    8   u32  number of the result
    12  f64  time in the source, seconds
    20  f64  captured, 28 shown, 36 sent: seconds of the server's monotonic clock
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from roadseg.core.types import Image, Labels
from roadseg.live.events import CameraState
from roadseg.live.outputs import Result

__all__ = ["RUNGS", "STATES", "Encoded", "Rung", "Unpacked", "as_jpeg", "encode", "unpack"]

STATES = tuple(CameraState)

_HEADER = struct.Struct("<2sBBHBxIddddHHHHIIHH")
_MAGIC = b"RS"
_VERSION = 1
_ZLIB_LEVEL = 3

# More than any tile shows; larger pictures are made smaller for every viewer.
_LONGEST_SIDE = 1920


@dataclass(frozen=True)
class Rung:
    """How good pictures are: a viewer that cannot keep up gets the next one."""

    scale: float
    jpeg_quality: int


RUNGS = (Rung(1.0, 80), Rung(0.5, 65))


@dataclass(frozen=True)
class Encoded:
    """A frame without what differs from viewer to viewer."""

    number: int
    rung: int
    time_s: float
    captured_s: float
    shown_s: float
    source_wh: tuple[int, int]
    picture_wh: tuple[int, int]
    labels_wh: tuple[int, int]
    jpeg: bytes
    labels: bytes

    def message(self, camera: int, state: CameraState, sent_s: float) -> bytes:
        """What is sent: the header, and both parts."""
        header = _HEADER.pack(
            *(_MAGIC, _VERSION, STATES.index(state), camera, self.rung),
            *(self.number & 0xFFFFFFFF, self.time_s, self.captured_s, self.shown_s, sent_s),
            *(*self.picture_wh, *self.labels_wh, len(self.jpeg), len(self.labels)),
            *self.source_wh,
        )
        return b"".join((header, self.jpeg, self.labels))


@dataclass(frozen=True)
class Unpacked:
    """A message as a viewer sees it."""

    camera: int
    state: CameraState
    rung: int
    number: int
    time_s: float
    captured_s: float
    shown_s: float
    sent_s: float
    source_wh: tuple[int, int]
    image_bgr: Image
    network_ids: Labels


def encode(result: Result, rung: int) -> Encoded:
    """Compress a result; about 2 ms for 960x540. Any thread may call this."""
    image_bgr = result.frame.image_bgr
    height, width = image_bgr.shape[:2]
    scale = RUNGS[rung].scale * min(1.0, _LONGEST_SIDE / max(height, width))
    small_wh = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = image_bgr
    if small_wh != (width, height):
        small = np.asarray(cv2.resize(image_bgr, small_wh, interpolation=cv2.INTER_AREA), np.uint8)
    ids = np.ascontiguousarray(result.network_ids)
    return Encoded(
        number=result.number,
        rung=rung,
        time_s=result.frame.time_s,
        captured_s=result.frame.captured_s,
        shown_s=result.shown_s,
        source_wh=(width, height),
        picture_wh=small_wh,
        labels_wh=(ids.shape[1], ids.shape[0]),
        jpeg=as_jpeg(small, RUNGS[rung].jpeg_quality),
        labels=zlib.compress(ids, _ZLIB_LEVEL),
    )


def as_jpeg(image_bgr: Image, quality: int) -> bytes:
    """A picture as JPEG."""
    _, data = cv2.imencode(".jpg", image_bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def unpack(message: bytes) -> Unpacked:
    """The inverse, for programs and tests.

    Raises:
        ValueError: it is no such message.
    """
    if len(message) < _HEADER.size or message[:3] != _MAGIC + bytes([_VERSION]):
        raise ValueError(f"expected a frame of version {_VERSION}, got {message[:3]!r}")
    fields = _HEADER.unpack_from(message)
    _, _, state, camera, rung, number, time_s, captured_s, shown_s, sent_s, *sizes = fields
    _, _, labels_w, labels_h, jpeg_bytes, labels_bytes, source_w, source_h = sizes
    if len(message) != _HEADER.size + jpeg_bytes + labels_bytes:
        raise ValueError("expected the two parts that the header announces")
    jpeg = np.frombuffer(message, np.uint8, jpeg_bytes, _HEADER.size)
    labels = zlib.decompress(message[_HEADER.size + jpeg_bytes :])
    return Unpacked(
        camera=camera,
        state=STATES[state],
        rung=rung,
        number=number,
        time_s=time_s,
        captured_s=captured_s,
        shown_s=shown_s,
        sent_s=sent_s,
        source_wh=(source_w, source_h),
        image_bgr=np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8),
        network_ids=np.frombuffer(labels, np.uint8).reshape(labels_h, labels_w),
    )
