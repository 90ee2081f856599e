"""What all users of FFmpeg (through PyAV) share: opening, naming errors, pictures to BGR."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import cv2
import numpy as np

from roadseg.errors import SourceError
from roadseg.types import Image

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = [
    "BgrConverter",
    "file_url",
    "nominal_rate",
    "quiet_opencv",
    "reason",
    "video_stream",
]

_RATE_LIMIT = 1000
_ERRNO_PREFIX = re.compile(r"^\[Errno -?\d+\] ")

# FFmpeg's rotation is counter-clockwise: what has to be done to the picture to show it upright.
_ROTATE_CODES = {
    90: cv2.ROTATE_90_COUNTERCLOCKWISE,
    -90: cv2.ROTATE_90_CLOCKWISE,
    180: cv2.ROTATE_180,
    -180: cv2.ROTATE_180,
}


def reason(exc: BaseException) -> str:
    """What FFmpeg or the system says, in lower case and without the name of the file.

    The name is left out because it may hold a password, and because the caller gives it.
    """
    text = getattr(exc, "strerror", None) or _ERRNO_PREFIX.sub("", str(exc))
    text = str(text).strip().rstrip(".") or type(exc).__name__
    return text[:1].lower() + text[1:]


def file_url(path: object) -> str:
    """A local path in FFmpeg's terms; without the prefix, `a:b.mp4` would name a protocol."""
    return f"file:{path}"


def nominal_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second as the container states or FFmpeg guesses them, None if absurd."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0 < rate <= _RATE_LIMIT:
            return Fraction(rate)
    return None


def video_stream(container: InputContainer, name: str) -> VideoStream:
    """The main video stream of a container.

    Raises:
        SourceError: there is none; the cover picture of a song does not count.
    """
    from av.stream import Disposition
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    is_cover = stream is not None and stream.disposition & Disposition.attached_pic
    if not isinstance(stream, VideoStream) or is_cover:
        container.close()
        raise SourceError(f"{name} has no video stream: give a file that has pictures")
    if stream.codec_context is None:
        codec = stream.name or "unknown"
        container.close()
        raise SourceError(f"{name}: no decoder for its video codec ({codec}): convert it to H.264")
    return stream


class BgrConverter:
    """FFmpeg's pictures to upright `image_bgr` arrays, whatever their size and pixel format.

    The colour matrix and range that the file declares are honoured; alpha is dropped and
    deeper pictures are brought to 8 bits. It keeps the conversion tables of the last size and
    format, which is five times faster than building them for every frame.
    """

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def __call__(self, picture: VideoFrame) -> Image:
        """(H, W, 3) uint8 BGR, rotated as the file asks for."""
        bgr = self._reformatter.reformat(picture, format="bgr24").to_ndarray()
        image = np.asarray(bgr, dtype=np.uint8)
        code = _ROTATE_CODES.get(round(picture.rotation / 90) * 90)
        if code is None:
            return image
        return np.ascontiguousarray(cv2.rotate(image, code), dtype=np.uint8)


@contextlib.contextmanager
def quiet_opencv() -> Iterator[None]:
    """OpenCV writes its own opinions to stderr when a device fails; the caller says it better."""
    before = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        yield
    finally:
        cv2.utils.logging.setLogLevel(before)
