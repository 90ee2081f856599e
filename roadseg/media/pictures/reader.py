"""One pass over the pictures of a video stream, with a look at those to come."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING

from roadseg.core.errors import SourceError
from roadseg.media.container import choose_video, reason
from roadseg.media.pictures.interlace import Deinterlacer
from roadseg.media.pictures.picture import Picture

if TYPE_CHECKING:
    import av
    from av.container import InputContainer


# A cut mp4 fails once for every frame that its index promises and the file does not hold;
# after this many failures in a row the rest is gone.
_FAILURES_IN_A_ROW = 100


class PictureReader:
    """Decodes a container's video. Takes the container over and closes it.

    Args:
        container: open, at its start.
        name: of the source, for messages.
        number: of the video stream, from 1; None for the first that is no preview.
        is_remote: an error of input or output is a lost connection, rather than damage.

    Attributes:
        stream: what is decoded.
        others: a line about other video streams, if there are any.
        ahead: pictures that are decoded and not taken yet.
        error: what the decoder said of the first damage, None without.
        failure: why there are no more pictures; raised by `take` once those ahead are taken.
        interlaced: pictures of two halves so far.
        latest: time and duration in ticks of the packet shown last; not every PyAV tells pictures
            theirs.

    Raises:
        SourceError: there is no video to decode.
    """

    def __init__(
        self,
        container: InputContainer,
        name: str,
        number: int | None,
        *,
        is_remote: bool,
        threads: int | None = None,
    ) -> None:
        self.stream, self.others = choose_video(container, name, number)
        # Frame threads decode several pictures at once: twice as fast on two cores.
        self.stream.thread_type = "AUTO"
        if threads is not None:
            self.stream.codec_context.thread_count = threads
        self.container = container
        self.ahead: deque[Picture] = deque()
        self.error: str | None = None
        self.failure: SourceError | None = None
        self.latest = (0, 0)
        self._name, self._is_remote = name, is_remote
        self._deinterlace = Deinterlacer()
        self._decoded = self._decode()
        self._pictures = self._deinterlace(self._decoded)

    @property
    def interlaced(self) -> int:
        """Pictures of two halves so far."""
        return self._deinterlace.seen

    def look_ahead(self, count: int) -> None:
        """Decode until so many pictures wait, or there are no more."""
        try:
            while len(self.ahead) < count and self.failure is None:
                picture = next(self._pictures, None)
                if picture is None:
                    return
                self.ahead.append(picture)
        except SourceError as exc:
            self.failure = exc

    def take(self) -> Picture | None:
        """The next picture; None at the end.

        Raises:
            SourceError: the connection was lost.
        """
        self.look_ahead(1)
        if self.ahead:
            return self.ahead.popleft()
        if self.failure is not None:
            raise self.failure
        return None

    def _decode(self) -> Generator[Picture, None, None]:
        """Every picture that can be decoded; damage is noted, not raised."""
        import av

        packets = self.container.demux(self.stream)
        failures = 0
        while failures < _FAILURES_IN_A_ROW:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):
                # IndexError: PyAV stumbles at the end over streams that came up on the way.
                break
            except (av.error.FFmpegError, OSError) as exc:
                if self._is_remote and not isinstance(exc, av.error.InvalidDataError):
                    raise SourceError(
                        f"lost {self._name}: {reason(exc)}",
                        fix="check the network and run it again",
                    ) from exc
                self._note_damage(exc)
                failures += 1
                packets = self.container.demux(self.stream)
                continue
            failures = 0
            if packet.pts is not None and packet.pts >= self.latest[0]:
                self.latest = packet.pts, packet.duration or 0
            yield from self._pictures_of(packet)
        yield from self._pictures_of(None)

    def _pictures_of(self, packet: av.Packet | None) -> list[Picture]:
        import av

        try:
            return [Picture.of(frame) for frame in self.stream.decode(packet)]
        except av.error.EOFError:
            return []
        except (av.error.FFmpegError, OSError) as exc:
            self._note_damage(exc)
            return []

    def _note_damage(self, exc: BaseException) -> None:
        self.error = self.error or reason(exc)

    def close(self) -> None:
        """Give the file back; a second call does nothing."""
        self.ahead.clear()
        self._decoded.close()
        self.container.close()
