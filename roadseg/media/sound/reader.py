"""Sound of a container, packet by packet, each decoded; damage is told and never raised."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING

from roadseg.media.container import reason

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer


_FAILURES_IN_A_ROW = 100
_ROUNDING_S = Fraction(1, 1000)

# A stamp this far from where the sound before it ended is a leap; if the packets that follow
# within the next few go on as if nothing had been, the stamp was wrong.
_LEAP_S = Fraction(1, 2)
_LOOK_AHEAD = 16

_GATHERED_BYTES = 1 << 14

_PACKETS_TO_LEARN_FROM = 500

# While a description is read, what FFmpeg says in other threads goes to Python's logging, which
# prints what has no handler.
logging.getLogger("libav").addHandler(logging.NullHandler())

_PCM_LAYOUTS = {3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1", 16: "hexadecagonal"}


def sound_errors() -> tuple[type[Exception], ...]:
    """What PyAV raises over sound that is broken, unknown or half described.

    Wider than usual: a stream without parameters surfaces as a missing attribute, a division by
    zero or a name that is no UTF-8, depending on the call that meets it first.
    """
    import av

    return (
        av.error.FFmpegError,
        OSError,
        ValueError,
        LookupError,
        AttributeError,
        TypeError,
        ArithmeticError,
        RuntimeError,
        MemoryError,
    )


@dataclass
class Piece:
    """One packet of sound.

    Attributes:
        packet: as it lies in the file.
        source_s: where it begins on the file's clock, None if the file does not say.
        duration_s: how long it sounds, 0 if unknown.
        frames: what was decoded from it; some codecs hold back, so it may be empty.
        fault: why it cannot be decoded, None if it can.
    """

    packet: av.Packet
    source_s: Fraction | None
    duration_s: Fraction
    frames: list[AudioFrame] = field(default_factory=list)
    fault: str | None = None


class SoundReader:
    """The main sound of `container`. Takes the container over and closes it.

    Attributes:
        stream: where the packets come from.
        rate: samples per second.
        channels: how many.
        ended_by: what ended the reading before the end of the file, None if nothing did.

    Raises:
        ValueError: there is no sound that can be decoded.
    """

    def __init__(self, container: InputContainer) -> None:
        self.ended_by: str | None = None
        self._container = container
        self.stream = _sound_stream(container)
        self.rate = int(self.stream.codec_context.sample_rate or 0)
        self._decoder = _safe_decoder(container, self.stream)
        self.channels = int(self._decoder.layout.nb_channels)
        self._pieces = self._decoded()
        self._first: list[Piece] = []
        if not self.rate or not self.channels:
            self._learn()

    def _learn(self) -> None:
        """Take rate and channels from the first packet that can be decoded."""
        while len(self._first) < _PACKETS_TO_LEARN_FROM:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._first.append(piece)
            if piece.frames:
                self.rate = int(piece.frames[0].sample_rate)
                self.channels = int(piece.frames[0].layout.nb_channels)
                return
        raise ValueError("nothing of it can be decoded")

    def pieces(self) -> Iterator[Piece]:
        """All packets to the end, in the order of the file, with wrong stamps taken out."""
        waiting = deque(self._first)
        pieces = self._pieces
        expected_s: Fraction | None = None
        while True:
            piece = waiting.popleft() if waiting else next(pieces, None)
            if piece is None:
                return
            if _leaps(piece, expected_s):
                while len(waiting) < _LOOK_AHEAD and (more := next(pieces, None)) is not None:
                    waiting.append(more)
                _drop_stray_stamps([piece, *waiting], expected_s)
            if piece.source_s is not None:
                expected_s = piece.source_s
            if expected_s is not None:
                expected_s += piece.duration_s
            yield piece

    def _decoded(self) -> Iterator[Piece]:
        decoded_s = Fraction(0)
        packets = self._demuxed()
        if self.stream.codec_context.name.startswith("pcm_"):
            packets = _gathered(packets)
        for packet in packets:
            frames, fault = [], None
            try:
                frames = list(self._decoder.decode(packet if packet.size else None))
            except EOFError:
                continue
            except sound_errors() as exc:
                fault = reason(exc)
            # What the packet says is rounded, what is decoded may be trimmed or come in bulk.
            told_s = Fraction((packet.duration or 0) * (packet.time_base or 0))
            made_s = sum((Fraction(f.samples, f.sample_rate) for f in frames), Fraction(0))
            if abs(made_s - told_s) < _ROUNDING_S or not told_s:
                told_s = made_s or decoded_s
            decoded_s = made_s or decoded_s
            stamp = packet.pts if packet.pts is not None else packet.dts
            source_s = None
            if stamp is not None and packet.time_base:
                source_s = stamp * Fraction(packet.time_base)
            if packet.size or frames:
                yield Piece(packet, source_s, told_s, frames, fault)

    def _demuxed(self) -> Iterator[av.Packet]:
        packets = self._container.demux(self.stream)
        failures = 0
        while failures < _FAILURES_IN_A_ROW:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):
                # IndexError: PyAV stumbles at the end over streams that came up on the way.
                return
            except sound_errors() as exc:
                self.ended_by = reason(exc)
                failures += 1
                packets = self._container.demux(self.stream)
                continue
            if packet.size:
                failures, self.ended_by = 0, None
            yield packet

    def close(self) -> None:
        """Close the container; a second call does nothing."""
        self._container.close()


def _gathered(packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
    """Neighbouring packets of plain samples as one: an AVI with frames of 32 bytes and more
    (16 channels of 16 bits) comes sample by sample."""
    group: list[av.Packet] = []
    size = 0
    for packet in packets:
        last = group[-1] if group else packet
        follows = (
            packet is not last
            and packet.pts is not None
            and last.pts is not None
            and packet.size > 0
            and packet.pts == last.pts + (last.duration or 0)
        )
        if group and (not follows or size + packet.size > _GATHERED_BYTES):
            yield _as_one(group)
            group, size = [], 0
        group.append(packet)
        size += packet.size
    if group:
        yield _as_one(group)


def _as_one(group: list[av.Packet]) -> av.Packet:
    import av

    if len(group) == 1:
        return group[0]
    first = group[0]
    joined = av.Packet(b"".join(bytes(p) for p in group))
    joined.pts, joined.dts, joined.time_base = first.pts, first.dts, first.time_base
    joined.duration = sum(p.duration or 0 for p in group)
    return joined


def _sound_stream(container: InputContainer) -> AudioStream:
    from av.audio.stream import AudioStream

    best = container.streams.best("audio")
    for stream in (best, *container.streams.audio):
        if isinstance(stream, AudioStream) and stream.codec_context is not None:
            return stream
    raise ValueError("its sound has a codec that cannot be read")


def _safe_decoder(container: InputContainer, stream: AudioStream) -> AudioCodecContext:
    """The stream's own decoder, unless reading its channel layout would end the process.

    PyAV copies a layout without the table that belongs to it, and frees that table twice. Only
    layouts of a custom order have one (7.1 PCM in QuickTime, for example). FFmpeg describes
    those as `8 channels (FL+FR+...)`; a plain description such as `7.1` is safe to read.
    """
    import av

    custom = re.search(
        rf"^\s*Stream #0:{stream.index}\b.*: Audio: .* (\d+) channels \(",
        _description(container),
        re.MULTILINE,
    )
    context = stream.codec_context
    if custom is None:
        return context
    channels = int(custom[1])
    layout = {1: "mono", 2: "stereo", **_PCM_LAYOUTS}.get(channels)
    if layout is None or not context.name.startswith("pcm_"):
        raise ValueError(f"its {channels} channels are in an order that cannot be read")
    decoder: AudioCodecContext = av.CodecContext.create(context.name, "r")
    decoder.sample_rate = context.sample_rate
    decoder.layout = layout
    return decoder


def _description(container: InputContainer) -> str:
    """What FFmpeg prints about a file; PyAV hands it out through its log."""
    import av.logging

    before = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)
    try:
        # PyAV's own stubs forget this method.
        return str(container.dumps_format())  # type: ignore[attr-defined]
    finally:
        av.logging.set_level(before)


def _leaps(piece: Piece, expected_s: Fraction | None) -> bool:
    return (
        expected_s is not None
        and piece.source_s is not None
        and abs(piece.source_s - expected_s) > _LEAP_S
    )


def _drop_stray_stamps(pieces: list[Piece], expected_s: Fraction | None) -> None:
    """Take the stamps of the first pieces away if a later one is where it would be anyway."""
    assert expected_s is not None
    for at, piece in enumerate(pieces):
        if piece.source_s is not None and not _leaps(piece, expected_s):
            for stray in pieces[:at]:
                stray.source_s = None
            return
        expected_s += piece.duration_s
