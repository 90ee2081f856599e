"""What all users of FFmpeg (through PyAV) share: opening, choosing a stream, naming errors."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from roadseg.core.errors import SourceError, unreadable
from roadseg.core.wording import option

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


_RATE_LIMIT = 1000

# A stream of less than this part of the largest one's pixels is a preview of it.
_PREVIEW_PART = 5
_ERRNO_PREFIX = re.compile(r"^\[Errno -?\d+\] ")


def reason(exc: BaseException) -> str:
    """What FFmpeg or the system says, in lower case and without the name of the file.

    The name is left out because it may hold a password, and because the caller gives it.
    """
    text = getattr(exc, "strerror", None) or _ERRNO_PREFIX.sub("", str(exc))
    text = str(text).strip().rstrip(".") or type(exc).__name__
    return text[:1].lower() + text[1:]


def without_url(exc: BaseException, name: str) -> BaseException:
    """The same error with `name` in place of its URL, whose password tracebacks would show.

    Args:
        exc: of FFmpeg or of the system.
        name: the URL as people may see it.
    """
    code = getattr(exc, "errno", None)
    if not isinstance(code, int):
        return exc
    return type(exc)(code, reason(exc), name).with_traceback(exc.__traceback__)


def file_url(path: object) -> str:
    """A local path in FFmpeg's terms; without the prefix, `a:b.mp4` would name a protocol."""
    return f"file:{path}"


def open_video_file(path: Path | str, file: BinaryIO | None = None) -> InputContainer:
    """Open a file to read from.

    Args:
        path: the file; with `file` what messages call it.
        file: the same, opened, where no local path leads to it.

    Raises:
        SourceError: FFmpeg cannot open it.
    """
    import av

    try:
        return open_input(file_url(path) if file is None else file)
    except (av.error.FFmpegError, OSError) as exc:
        raise unreadable(SourceError, path, exc, reason(exc)) from exc


def open_input(
    url: object,
    *,
    format: str | None = None,
    options: dict[str, str] | None = None,
    timeouts_s: tuple[float, float] | None = None,
) -> InputContainer:
    """Open what is to be read. Tags that are no UTF-8 are shown as well as they can be.

    Args:
        url: in FFmpeg's terms, see `file_url`; or a file object.
        format: of the container; found out when None.
        options: of the protocol and the container.
        timeouts_s: how long the other side may take to answer, and for each later read.

    Raises:
        OSError, av.error.FFmpegError: it cannot be opened.
    """
    import av

    # From PyAV 19 on it is not asked: bytes that are no UTF-8 come as lone surrogates, see `text`.
    asked = {} if int(av.__version__.split(".")[0]) >= 19 else {"metadata_errors": "replace"}
    container: InputContainer = av.open(
        url, "r", format=format, options=options or {}, timeout=timeouts_s, **asked
    )
    return container


def text(tag: str) -> str:
    """A tag as people can read it: what is no UTF-8 becomes a replacement character."""
    return tag.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def nominal_rate(stream: VideoStream) -> Fraction | None:
    """Frames per second as the container states or FFmpeg guesses them, None if absurd."""
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate is not None and 0 < rate <= _RATE_LIMIT:
            return Fraction(rate)
    return None


def rate_in_headers(stream: VideoStream) -> Fraction | None:
    """Frames per second as the headers of an elementary stream state them, None if they do not.

    The container's rates are made up there: FFmpeg takes 25 unless it is told.
    """
    rate = stream.codec_context.framerate
    return Fraction(rate) if rate is not None and 0 < rate <= _RATE_LIMIT else None


def choose_video(
    container: InputContainer, name: str, number: int | None = None
) -> tuple[VideoStream, str | None]:
    """The video stream to read, and a line about the others, if there are any.

    The first one is taken that is neither a cover nor a small preview of another.

    Args:
        container: opened for reading; closed where this raises.
        name: of the source, for messages.
        number: of the stream among the video streams, from 1; None for the first one.

    Raises:
        SourceError: there is none (the cover picture of a song does not count), none of that
            number, or nothing can decode it.
    """
    try:
        return _choose_video(container, name, number)
    except SourceError:
        container.close()
        raise


def _choose_video(
    container: InputContainer, name: str, number: int | None
) -> tuple[VideoStream, str | None]:
    from av.stream import Disposition
    from av.video.stream import VideoStream

    no_film = Disposition.attached_pic | Disposition.timed_thumbnails
    streams = [
        stream
        for stream in container.streams
        if isinstance(stream, VideoStream) and not stream.disposition & no_film
    ]
    if not streams:
        raise SourceError(f"{name} has no video stream", fix="give a file that has pictures")
    if number is None:
        largest = max(_area(stream) for stream in streams)
        # The first that is no preview; where nothing can be decoded, the first of all.
        able = (s for s in streams if _is_film(s, largest))
        stream = next(able, streams[0])
    elif 1 <= number <= len(streams):
        stream = streams[number - 1]
    else:
        there = "1 video stream" if len(streams) == 1 else f"video streams 1 to {len(streams)}"
        raise SourceError(
            f"{name} has {there}, and {option('--stream', number)} is asked for",
            fix=f"use {option('--stream', *range(1, len(streams) + 1))}",
        )
    if stream.codec_context is None:
        raise SourceError(
            f"{name}: there is no decoder for its video codec", fix="convert it to H.264"
        )
    if len(streams) == 1 or number is not None:
        return stream, None
    listed = ", ".join(f"{i} ({_about(each)})" for i, each in enumerate(streams, 1))
    return stream, (
        f"{name} holds the pictures of {len(streams)} cameras or video streams: {listed}; "
        f"this is number {streams.index(stream) + 1}, choose another with {option('--stream')}"
    )


def _area(stream: VideoStream) -> int:
    context = stream.codec_context
    return 0 if context is None else int(context.width * context.height)


def _is_film(stream: VideoStream, largest: int) -> bool:
    return stream.codec_context is not None and _area(stream) * _PREVIEW_PART >= largest


def _about(stream: VideoStream) -> str:
    context = stream.codec_context
    if context is None:
        return "unknown codec"
    tags = {text(key).lower(): text(value) for key, value in stream.metadata.items()}
    title = tags.get("title") or tags.get("name")
    size = f"{context.width}x{context.height}"
    return f"{title}, {size}" if title else size
