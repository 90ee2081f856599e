"""What a video file says of itself before a picture is decoded: when it was recorded, and more."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from roadseg.media.container import choose_video, open_video_file

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.stream import Stream

__all__ = ["ClipFacts", "clip_facts"]


@dataclass(frozen=True, slots=True)
class ClipFacts:
    """What the headers of a file state; they may be wrong.

    Attributes:
        duration_s: how long it plays; None if it does not say.
        created: date and time of the recording, in UTC; recorders differ in whether that is its
            begin or its end. None if it does not say.
        size_wh: width and height of its pictures as they are stored.
        frames: how many pictures it has; None if it does not say.
        start_s: where its clock begins.
        tracks: kind, codec and sample rate of each of its streams: files with the same tracks can
            be read as one.
    """

    duration_s: float | None
    created: datetime | None
    size_wh: tuple[int, int]
    frames: int | None
    start_s: float
    tracks: tuple[tuple[str, str, int], ...]


def clip_facts(
    path: Path | str, stream: int | None = None, *, file: BinaryIO | None = None
) -> ClipFacts:
    """Read the headers of a video file.

    Args:
        path: the file; with `file` what messages call it.
        stream: number of the video stream, from 1; None for the first that is no preview.
        file: the same, opened, where no local path leads to it.

    Raises:
        SourceError: it cannot be opened as a video.
    """
    import av

    container = open_video_file(path, file)
    video, _others = choose_video(container, str(path), stream)
    with contextlib.closing(container):
        duration_s = None
        if container.duration is not None:
            duration_s = container.duration / av.time_base
        return ClipFacts(
            duration_s=duration_s,
            created=_created(container),
            size_wh=(video.codec_context.width, video.codec_context.height),
            frames=video.frames or None,
            start_s=(container.start_time or 0) / av.time_base,
            tracks=tuple(map(_track, container.streams)),
        )


def _created(container: InputContainer) -> datetime | None:
    stated = container.metadata.get("creation_time", "")
    try:
        # Python 3.10 reads no `Z`.
        created = datetime.fromisoformat(stated.replace("Z", "+00:00"))
    except ValueError:
        return None
    # A recorder whose clock was never set counts from 1904 or 1970.
    if created.year < _FIRST_YEAR:
        return None
    return created if created.tzinfo else created.replace(tzinfo=timezone.utc)


_FIRST_YEAR = 1971


def _track(stream: Stream) -> tuple[str, str, int]:
    context = getattr(stream, "codec_context", None)
    codec = context.name if context is not None else ""
    return stream.type, codec, int(getattr(context, "sample_rate", 0) or 0)
