"""Small pictures of moments of a video file."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from roadseg.core.types import Image
from roadseg.media.container import choose_video, open_video_file
from roadseg.media.pictures.converter import BgrConverter

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


def thumbnails(path: Path, times_s: Sequence[float], width: int = 240) -> list[Image | None]:
    """The pictures that a video file shows at some times.

    Args:
        path: the file.
        times_s: from its start, in any order.
        width: of the thumbnails in pixels; no picture is made larger.

    Returns:
        (h, `width`, 3) uint8 BGR each; None where nothing can be decoded.

    Raises:
        SourceError: it cannot be opened, or has no video.
    """
    container = open_video_file(path)
    stream, _others = choose_video(container, path.name)
    with contextlib.closing(container):
        convert = BgrConverter(stream.sample_aspect_ratio)
        found: list[Image | None] = []
        for time_s in times_s:
            frame = _shown_at(container, stream, time_s)
            found.append(None if frame is None else _small(convert(frame), width))
    return found


def _shown_at(container: InputContainer, stream: VideoStream, time_s: float) -> VideoFrame | None:
    """The last picture that begins at or before a time; the first one where none does."""
    import av

    base = stream.time_base
    if base is None:
        return None
    wanted = round(time_s / base) + (stream.start_time or 0)
    shown = None
    with contextlib.suppress(av.error.FFmpegError, OSError):
        container.seek(wanted, stream=stream, backward=True)
        for frame in container.decode(stream):
            # Times are rounded to ticks by whoever writes them.
            if shown is not None and frame.pts is not None and frame.pts > wanted + 1:
                break
            shown = frame
    return shown


def _small(image_bgr: Image, width: int) -> Image:
    rows, columns = image_bgr.shape[:2]
    if columns <= width:
        return image_bgr
    height = max(round(rows * width / columns), 1)
    small = cv2.resize(image_bgr, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
