"""What an encoder's pictures are called on their way into clips, and where they are taken off."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from av import Packet
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream


_KEY_EVERY_S = 1


@dataclass(frozen=True, slots=True)
class EncodedPicture:
    """One picture as the encoder gives it.

    Attributes:
        data: its bytes.
        pts, dts, duration: in ticks of `time_base`.
        time_base: seconds per tick.
        is_key: whether decoding can begin here.
        template: a stream that says how to decode it; lives as long as anybody refers to it.
    """

    data: bytes
    pts: int
    dts: int
    duration: int
    time_base: Fraction
    is_key: bool
    template: VideoStream

    @property
    def time_s(self) -> Fraction:
        """When it is shown, from the start of the source."""
        return self.pts * self.time_base


class PacketTap:
    """Hands on what an encoder makes, with key pictures close enough for clips.

    The encoder's owner calls `before` with each picture and `take` with each packet, in the order
    in which they are made, in one thread.

    Args:
        take: is given every encoded picture.
    """

    def __init__(self, take: Callable[[EncodedPicture], None]) -> None:
        self._take = take
        self._last_key_s: Fraction | None = None
        self._template: VideoStream | None = None
        self._keep_alive: OutputContainer | None = None

    def before(self, picture: VideoFrame) -> None:
        """Ask for a key picture where the last one is nearly a second old.

        A second less two pictures, so that a clip that begins at a key picture, and ends with the
        picture behind its end, is at most one second too long.
        """
        from av.video.frame import PictureType

        if picture.pts is None or picture.time_base is None:
            return
        at_s = picture.pts * picture.time_base
        step_s = picture.duration * picture.time_base
        last_s = self._last_key_s
        if last_s is None or at_s + 2 * step_s - last_s > _KEY_EVERY_S:
            picture.pict_type = PictureType.I
            self._last_key_s = at_s

    def take(self, packet: Packet) -> None:
        """Hand on a packet of the encoder, before anything else is done with it."""
        if packet.pts is None or packet.dts is None or not packet.time_base:
            return
        if self._template is None:
            self._template = self._copied(packet.stream)
        self._take(
            EncodedPicture(
                bytes(packet),
                packet.pts,
                packet.dts,
                packet.duration or 0,
                Fraction(packet.time_base),
                packet.is_keyframe,
                self._template,
            )
        )

    def _copied(self, stream: VideoStream) -> VideoStream:
        """The stream's parameters, in a container of their own: clips outlive the recording."""
        import av

        # It fills in what is known once the encoder is open.
        cast("OutputContainer", stream.container).start_encoding()
        self._keep_alive = av.open(io.BytesIO(), "w", format="mp4")
        return self._keep_alive.add_stream_from_template(stream, opaque=True)
