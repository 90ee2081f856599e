"""Carries the sound of a video over to the file that is being written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING

from roadseg.media.container import reason
from roadseg.media.sound.carry import AAC_RATES, adts_header, successor, wrap
from roadseg.media.sound.clock import PictureClock
from roadseg.media.sound.encode import SoundEncoder
from roadseg.media.sound.reader import Piece, SoundReader, sound_errors

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.bitstream import BitStreamFilterContext
    from av.container import InputContainer, OutputContainer


# Sound from before the first picture has no place in the new file, but for a moment that decoders
# need to find their feet (AAC one packet, mp3 two or three). It is stored and not played.
_LEAD_IN_S = Fraction(1, 10)

# Stamps are rounded, to a millisecond in many files. A copied packet that lies further than that
# from the end of the packet before follows its stamp; much further is a gap or an overlap.
_JITTER_S = Fraction(3, 2000)
_GAP_S = Fraction(1, 25)

# So much silence that the source does not have itself is worth a warning.
_SHORTFALL_S = Fraction(1, 2)

# Behind the last picture, silence longer than this before the next sound is a wrong stamp.
_LONGEST_SILENCE_S = 10
_FOREVER_S = 10**9

# Packets that may be damaged before it counts as late when the first sound begins.
_LOOK_AHEAD = 200


class AudioTrack:
    """The sound of a source, in step with a video that is written at the same time.

    Reads the source on its own, since sound and picture are read by different threads. Packets
    are copied where mp4 and browsers take them. At the first that cannot be decoded, has other
    parameters, or leaves a gap, an encoder of the same codec takes over; it puts silence where
    sound is missing. Damage to the sound never stops the video: `warnings` say in one line
    what is lost.

    Args:
        open_sound: opens the source once more.
        output: container to add a stream to, before anything is written to it.
        start_s: where the first picture lies on the source's clock; it becomes time 0.
        cuts_s: where the files of a joined source begin on it.

    Raises:
        `sound_errors()`: the sound can neither be copied nor encoded.
    """

    def __init__(
        self,
        open_sound: Callable[[], InputContainer],
        output: OutputContainer,
        start_s: Fraction,
        cuts_s: Sequence[Fraction] = (),
    ) -> None:
        self.warnings: list[str] = []
        self._output = output
        self._start_s = start_s
        self._clock = PictureClock(start_s, cuts_s)
        self._is_joined = bool(cuts_s)
        self._failure: str | None = None
        self._refused_s = Fraction(0)
        self._end_s = Fraction(0)
        self._last_tick: int | None = None
        self._encoder: SoundEncoder | None = None
        self._after_loss = False
        self._began = False
        self._header: bytes | None = None
        self._bare: BitStreamFilterContext | None = None
        container = open_sound()
        try:
            self._reader = SoundReader(container)
            self._pieces: Iterator[Piece] = self._reader.pieces()
            self._piece: Piece | None = None
            self._stream = self._add_stream(output)
        except BaseException:
            container.close()
            raise

    def _add_stream(self, output: OutputContainer) -> AudioStream:
        import av

        source, rate, channels = self._reader.stream, self._reader.rate, self._reader.channels
        self._go_on = successor(source, rate, channels)
        if self._go_on is not None:
            return output.add_stream_from_template(source)
        encoded = output.add_stream("aac", rate=rate if rate in AAC_RATES else 48_000)
        encoded.codec_context.layout = "mono" if channels == 1 else "stereo"
        encoded.codec_context.format = av.AudioFormat("fltp")
        self._encoder = SoundEncoder(encoded.codec_context)
        return encoded

    def begins_by(self, time_s: Fraction) -> bool:
        """Whether there is sound that can be decoded before `time_s`, counted from the first
        picture. To be asked before the first picture."""
        ahead: list[Piece] = []
        begins = over = False
        try:
            while not (begins or over) and len(ahead) < _LOOK_AHEAD:
                piece = next(self._pieces)
                ahead.append(piece)
                at_s = Fraction(0) if piece.source_s is None else piece.source_s - self._start_s
                over = at_s > time_s
                begins = piece.fault is None and not over
        except StopIteration:
            pass
        except sound_errors() as exc:
            self._failure = self._failure or reason(exc)
            self._pieces = iter(())
        self._pieces = chain(ahead, self._pieces)
        return begins

    def picture(self, source_s: float | None, time_s: Fraction) -> None:
        """A picture at `source_s` on the source's clock is written at `time_s`; the sound before
        `time_s` is handed over.

        Raises:
            av.error.FFmpegError, OSError: the output cannot be written.
        """
        self._clock.picture(source_s, time_s)
        self._write_until(time_s)

    def _write_until(self, time_s: Fraction) -> None:
        for packet in self._guarded(self._packets_until(time_s)):
            self._mux(packet)

    def _guarded(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet]:
        """The packets up to the first that cannot be made; that ends the sound."""
        try:
            yield from packets
        except sound_errors() as exc:
            self._failure = self._failure or reason(exc)
            self._pieces = iter(())
            self._piece = None

    def _packets_until(self, time_s: Fraction, *, at_end: bool = False) -> Iterator[av.Packet]:
        while True:
            if self._piece is None:
                self._piece = next(self._pieces, None)
                if self._piece is None:
                    return
            piece = self._piece
            if piece.source_s is not None and self._clock.is_beside_none(piece.source_s):
                self._piece = None
                continue
            begin_s: Fraction | None = self._end_s
            if piece.source_s is not None:
                begin_s = self._clock.place(piece.source_s, self._end_s)
            if begin_s is None and not at_end:
                return
            begin_s = self._end_s if begin_s is None else begin_s
            if begin_s >= time_s:
                return
            if at_end and begin_s - self._end_s > _LONGEST_SILENCE_S and begin_s > 0:
                self._failure = self._failure or "a leap of its clock"
                return
            self._piece = None
            if not self._is_over(piece, begin_s):
                yield from self._write(piece, begin_s)

    def _is_over(self, piece: Piece, begin_s: Fraction) -> bool:
        """Whether a packet behind a cut is more beside the sound before it than behind it: copied
        all the same, it would put off what follows, a bit at every cut."""
        behind_a_cut = self._is_joined and self._began and self._encoder is None
        return behind_a_cut and begin_s + piece.duration_s / 2 < self._end_s

    def _write(self, piece: Piece, begin_s: Fraction) -> Iterator[av.Packet]:
        if piece.fault is not None:
            self._failure = self._failure or piece.fault
            if not (self._began or (self._encoder is not None and self._encoder.is_heard)):
                self._refused_s += piece.duration_s if begin_s >= 0 else Fraction(0)
        if self._encoder is None:
            if not self._began and begin_s + piece.duration_s <= -_LEAD_IN_S:
                return
            if self._fits(piece, begin_s):
                yield self._copied(piece, begin_s)
                return
            self._encoder = self._taking_over()
        at_s = begin_s
        for frame in piece.frames:
            after_loss, self._after_loss = self._after_loss, False
            for packet in self._encoder.put(frame, at_s, after_loss=after_loss):
                yield self._dressed(packet)
            at_s += Fraction(frame.samples, frame.sample_rate)
        if piece.fault is not None:
            self._after_loss = True
            self._end_s = max(self._end_s, begin_s + piece.duration_s)
        self._end_s = max(self._end_s, self._encoder.end_s)

    def _taking_over(self) -> SoundEncoder:
        """An encoder that goes on where the copied packets end."""
        assert self._go_on is not None
        begin = round(max(self._end_s, Fraction(0)) * self._reader.rate)
        return SoundEncoder(self._go_on, begin)

    def _fits(self, piece: Piece, begin_s: Fraction) -> bool:
        """Whether the packet can follow those copied before as it is."""
        if piece.fault is not None or (self._began and abs(begin_s - self._end_s) > _GAP_S):
            return False
        if len(piece.frames) > 1:
            return False  # damage can look like two packets in one
        assert self._go_on is not None
        kinds = {(f.sample_rate, f.layout.nb_channels) for f in piece.frames}
        header = adts_header(bytes(piece.packet)) if self._go_on.name == "aac" else None
        if not self._began:
            self._header = header
        same_header = (header and header[:3]) == (self._header and self._header[:3])
        return kinds <= {(self._reader.rate, self._reader.channels)} and same_header

    def _copied(self, piece: Piece, begin_s: Fraction) -> av.Packet:
        # Durations are exact where stamps are rounded; stamps count where the two drift apart.
        if self._began and abs(begin_s - self._end_s) <= _JITTER_S:
            begin_s = self._end_s
        self._began = True
        self._end_s = begin_s + piece.duration_s
        packet, rate = piece.packet, self._reader.rate
        packet.time_base = Fraction(1, rate)
        # Sound has no reordering: decoding and presentation time are the same.
        packet.pts = packet.dts = round(begin_s * rate)
        packet.duration = round(piece.duration_s * rate)
        packet.stream = self._stream
        return packet

    def _dressed(self, packet: av.Packet) -> av.Packet:
        """A packet of the encoder, wrapped like the copied ones before it."""
        import av

        if self._header is not None:
            data = bytes(packet)
            bare, packet = packet, av.Packet(wrap(self._header, data))
            packet.pts, packet.dts, packet.duration = bare.pts, bare.dts, bare.duration
            packet.time_base = bare.time_base
            packet.is_keyframe = True
        packet.stream = self._stream
        return packet

    def _mux(self, packet: av.Packet) -> None:
        if self._header is None:
            self._mux_bare(packet)
            return
        # AAC of transport streams has a header on each packet, mp4 one for all. The muxer would
        # turn it over by itself, but not for a file that grows in fragments.
        from av.bitstream import BitStreamFilterContext

        if self._bare is None:
            self._bare = BitStreamFilterContext("aac_adtstoasc", self._reader.stream)
        for bare in self._bare.filter(packet):
            bare.stream = self._stream
            self._mux_bare(bare)

    def _mux_bare(self, packet: av.Packet) -> None:
        self._output.start_encoding()
        base = self._stream.time_base
        if packet.pts is None or packet.time_base is None or base is None:
            return
        tick = round(packet.pts * packet.time_base / base)
        if self._last_tick is not None:
            tick = max(tick, self._last_tick + 1)
        duration = round((packet.duration or 0) * packet.time_base / base)
        packet.time_base, packet.duration = base, duration
        packet.pts = packet.dts = tick
        try:
            self._output.mux(packet)
        except ValueError as exc:
            # FFmpeg's "invalid": about this packet. What the disk says is an OSError.
            self._failure = self._failure or reason(exc)
            self._refused_s += duration * base
            return
        self._last_tick = tick

    def finish(self, end_s: Fraction, *, whole: bool) -> Fraction:
        """Hand over the sound up to `end_s`, the end of the last picture, or all that is left if
        the `whole` source was written; close the source.

        Returns:
            Where the sound ends.

        Raises:
            av.error.FFmpegError, OSError: the output cannot be written.
        """
        until_s = end_s + _FOREVER_S if whole else end_s
        for packet in self._guarded(self._packets_until(until_s, at_end=True)):
            self._mux(packet)
        failure = self._failure or self._reader.ended_by
        sounded_s = self._end_s
        for packet in self._guarded(self._last_packets(end_s if failure else None)):
            self._mux(packet)
        failure = failure or self._failure
        silent_s = self._refused_s + (self._encoder.silent_s if self._encoder else 0)
        if failure:
            self.warnings.append(
                f"the sound is damaged ({failure}): {float(silent_s):.1f} s of it are silent"
                if end_s - sounded_s <= _SHORTFALL_S
                else f"the sound is damaged ({failure}): it ends {float(sounded_s):.1f} s "
                f"into the video of {float(end_s):.1f} s"
            )
        elif silent_s > _SHORTFALL_S:
            self.warnings.append(f"the sound has gaps: {float(silent_s):.1f} s of it are silent")
        self.close()
        return sounded_s

    def _last_packets(self, silence_until_s: Fraction | None) -> Iterator[av.Packet]:
        if self._encoder is None and silence_until_s is not None and self._began:
            self._encoder = self._taking_over()
        if self._encoder is None:
            return
        if silence_until_s is not None:
            for packet in self._encoder.silence_until(silence_until_s):
                yield self._dressed(packet)
        for packet in self._encoder.finish():
            yield self._dressed(packet)

    def close(self) -> None:
        """Close the source; a second call does nothing."""
        self._reader.close()
