"""Opening network streams.

Through PyAV, not through OpenCV: both honour their time limits, but OpenCV answers every failure
with the same False, whereas FFmpeg's own error tells a wrong password from a closed port.
"""

from __future__ import annotations

import errno
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from roadseg.core.errors import SourceError
from roadseg.core.wording import option
from roadseg.media.container import open_input, reason, without_url
from roadseg.media.redaction import password_advice, redact
from roadseg.media.sources.base import RtspTransport, Source
from roadseg.media.sources.fetched_image import FetchedImage
from roadseg.media.sources.file import FileSource
from roadseg.media.sources.images import is_image
from roadseg.media.sources.jpeg_stream import JpegParts
from roadseg.media.sources.stream import StreamSource

if TYPE_CHECKING:
    from av.container import InputContainer


# Of one picture.
_LARGEST_BYTES = 2**28


def open_url(
    url: str,
    *,
    loop: bool,
    timeout_s: float,
    max_frames: int | None,
    rtsp_transport: RtspTransport = "auto",
    stream: int | None = None,
) -> Source:
    """Open a network stream.

    An http(s) URL whose container states a duration is a file that lies elsewhere: every frame
    is read, none is dropped. One that is called like a picture, and is one, is that picture.
    Everything else is live.

    Args:
        url: with user name and password, where it takes them.
        loop: start a file again at its end.
        timeout_s: for opening it in whatever ways there are, and later for every read.
        max_frames: see `open_source`.
        rtsp_transport: how RTSP sends its pictures; "auto" is TCP, and UDP where the other side
            refuses that.
        stream: see `open_source`.

    Raises:
        SourceError: no answer within `timeout_s`, refused, or no video.
    """
    attempt = _Attempt(url, timeout_s)
    if url.lower().startswith(("rtsp://", "rtsps://")):
        container = attempt.rtsp(rtsp_transport)
        return StreamSource(
            container, attempt.name, timeout_s=timeout_s, max_frames=max_frames, stream=stream
        )
    container, http = attempt.other()
    if http is not None:
        return _JpegSource(
            container, http, attempt.name, timeout_s=timeout_s, max_frames=max_frames
        )
    is_http = url.lower().startswith("http")
    if is_http and is_image(Path(urlsplit(url).path)) and _holds_a_picture(container):
        container.close()
        return FetchedImage(attempt.content(), attempt.name, loop=loop, max_frames=max_frames)
    if container.duration is not None and is_http:
        reopen = attempt.again if loop else None
        return FileSource(
            container,
            attempt.name,
            path=None,
            reopen=reopen,
            open_beside=attempt.again,
            max_frames=max_frames,
            stream=stream,
        )
    return StreamSource(
        container, attempt.name, timeout_s=timeout_s, max_frames=max_frames, stream=stream
    )


class _JpegSource(StreamSource):
    """A stream that is read through a second container, which is closed with it."""

    def __init__(
        self,
        container: InputContainer,
        http: InputContainer,
        name: str,
        *,
        timeout_s: float,
        max_frames: int | None,
    ) -> None:
        self._http = http
        super().__init__(container, name, timeout_s=timeout_s, max_frames=max_frames)

    def close(self) -> None:
        """See `Source.close`."""
        super().close()
        self._http.close()


class _Attempt:
    """What is tried, one way after the other, within one time limit.

    Attributes:
        name: the URL for people.
    """

    def __init__(self, url: str, timeout_s: float) -> None:
        self.name = redact(url)
        self._url = url
        self._timeout_s = timeout_s
        self._ends_s = time.monotonic() + timeout_s

    def again(self) -> InputContainer:
        """Open it once more, with a time limit of its own."""
        self._ends_s = time.monotonic() + self._timeout_s
        return self._open()

    def content(self) -> bytes:
        """All that the other side sends for the URL, which is a picture.

        Raises:
            SourceError: it breaks off, or is more than any picture takes.
        """
        import av

        content = bytearray()
        try:
            with self._open(format="data", options={"raw_packet_size": "65536"}) as http:
                for packet in http.demux():
                    content += bytes(packet)
                    if len(content) > _LARGEST_BYTES:
                        raise SourceError(
                            f"cannot read {self.name}: it sends more than a picture takes",
                            fix="check the path in the URL",
                        )
        except (av.error.FFmpegError, OSError) as exc:
            raise self._failure(exc) from without_url(exc, self.name)
        return bytes(content)

    def rtsp(self, transport: RtspTransport) -> InputContainer:
        """Raises `SourceError`, which says over what it was tried."""
        import av

        ways = ("tcp", "udp") if transport == "auto" else (transport,)
        tried: list[str] = []
        while True:
            tried.append(ways[len(tried)])
            try:
                return self._open(options={"rtsp_transport": tried[-1]})
            except (av.error.FFmpegError, OSError) as exc:
                if len(tried) == len(ways) or not self._worth_another_way(exc):
                    how = " and ".join(way.upper() for way in tried)
                    raise self._failure(exc, f" (tried RTSP over {how})") from without_url(
                        exc, self.name
                    )

    def other(self) -> tuple[InputContainer, InputContainer | None]:
        """A container, and the one that it reads from if there are two."""
        import av

        try:
            container = self._open()
        except (av.error.FFmpegError, OSError) as exc:
            # Nothing that FFmpeg knows; pictures may stand in it all the same.
            found = self._jpegs() if self._is_http and self._worth_another_way(exc) else None
            if found is None:
                raise self._failure(exc) from without_url(exc, self.name)
            return found
        if container.format.name != "mpjpeg" or _has_size(container):
            return container, None
        container.close()
        found = self._jpegs()
        if found is None:
            raise SourceError(
                f"cannot open {self.name}: it sends parts, but no JPEG in them",
                fix="check the path in the URL",
            )
        return found

    def _jpegs(self) -> tuple[InputContainer, InputContainer] | None:
        """The stream read for the JPEGs in it, None if there are none."""
        import av

        try:
            http = self._open(format="data", options={"raw_packet_size": "65536"})
        except (av.error.FFmpegError, OSError):
            return None
        try:
            parts = JpegParts(http, self.name, self._left_s())
            container = open_input(parts, format="mpjpeg")
        except (av.error.FFmpegError, OSError, SourceError):
            http.close()
            return None
        parts.timeout_s = self._timeout_s
        if _has_size(container):
            return container, http
        container.close()
        http.close()
        return None

    def _open(
        self,
        *,
        format: str | None = None,
        options: dict[str, str] | None = None,
    ) -> InputContainer:
        limits_s = (self._left_s(), self._timeout_s)
        return open_input(self._url, format=format, options=options, timeouts_s=limits_s)

    def _left_s(self) -> float:
        return max(self._ends_s - time.monotonic(), 0.01)

    @property
    def _is_http(self) -> bool:
        return self._url.lower().startswith(("http://", "https://"))

    def _timed_out(self, exc: BaseException) -> bool:
        import av

        # The interrupted connection surfaces under various names; the clock does not lie.
        return isinstance(exc, av.error.ExitError) or self._left_s() < 0.1 * self._timeout_s

    def _worth_another_way(self, exc: BaseException) -> bool:
        """Whether the other side answered, and refused the way and not the caller."""
        import av

        final = (
            av.error.HTTPUnauthorizedError,
            av.error.HTTPForbiddenError,
            av.error.HTTPNotFoundError,
            av.error.ConnectionRefusedError,
        )
        return not isinstance(exc, final) and not self._timed_out(exc)

    def _failure(self, exc: BaseException, tried: str = "") -> SourceError:
        why = (
            f"no answer within {self._timeout_s:g} s"
            if self._timed_out(exc)
            else _why(exc, self.name)
        )
        hint = password_advice(self._url)
        return SourceError(f"cannot open {self.name}: {why}{tried}", fix=f"{_advice(exc)}{hint}")


def _holds_a_picture(container: InputContainer) -> bool:
    """Whether FFmpeg reads it as one picture: `png_pipe`, `jpeg_pipe`, or by its name."""
    name = container.format.name
    return name == "image2" or name.endswith("_pipe")


def _has_size(container: InputContainer) -> bool:
    """Whether FFmpeg has seen a picture."""
    from av.video.stream import VideoStream

    stream = container.streams.best("video")
    return isinstance(stream, VideoStream) and bool(stream.width)


def _why(exc: BaseException, name: str) -> str:
    import av

    if isinstance(exc, av.error.InvalidDataError):
        return "what it sends is not a video"
    if getattr(exc, "errno", None) == errno.EPROTONOSUPPORT:
        return "it refuses this transport"
    if isinstance(exc, av.error.ProtocolNotFoundError):
        return f"{reason(exc)}: FFmpeg as it comes with this PyAV does not speak it"
    if getattr(exc, "errno", None) == errno.EIO and (host := _unknown_host(name)):
        return f"the host {host} is not found"
    return reason(exc)


def _unknown_host(name: str) -> str:
    """The host of a redacted URL, if nothing is known by its name: FFmpeg calls that an
    input/output error, as it does much else."""
    try:
        host = urlsplit(name).hostname
        if host:
            socket.getaddrinfo(host, None)
    except socket.gaierror:
        return host or ""
    except ValueError:  # no URL that Python reads
        pass
    return ""


def _advice(exc: BaseException) -> str:
    import av

    if isinstance(exc, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return "check the user name and password in the URL"
    if isinstance(exc, av.error.ProtocolNotFoundError):
        return "give an rtsp or http(s) URL"
    if isinstance(exc, av.error.HTTPClientError):
        return "check the path in the URL"
    if getattr(exc, "errno", None) == errno.EPROTONOSUPPORT:
        return (
            f"try {option('--rtsp-transport', 'tcp', 'udp')}, or check the camera's RTSP settings"
        )
    return "check the address, the port and that the camera is on"
