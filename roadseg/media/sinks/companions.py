"""Subtitles and data of a recording, carried along: dashcams keep their GPS track there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, Any

from roadseg.media.sound.carry import fits_mp4
from roadseg.media.sound.clock import PictureClock
from roadseg.media.sound.reader import sound_errors

if TYPE_CHECKING:
    import av
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream


class Companions:
    """The streams of a source that are neither picture nor sound, in step with its pictures.

    They are copied as they are where mp4 can hold them; `left_out` names the others.

    Args:
        reopen: opens the source once more.
        output: container to add streams to, before anything is written to it.
        start_s: where the first picture lies on the source's clock; it becomes time 0.
        cuts_s: where the files of a joined source begin on it.

    Attributes:
        left_out: kinds of streams that mp4 cannot hold, for people.

    Raises:
        `sound_errors()`: the source cannot be opened, or says too little of itself.
    """

    def __init__(
        self,
        reopen: Callable[[], InputContainer],
        output: OutputContainer,
        start_s: Fraction,
        cuts_s: Sequence[Fraction] = (),
    ) -> None:
        self.left_out: list[str] = []
        self._output = output
        self._clock = PictureClock(start_s, cuts_s)
        self._input = reopen()
        self._copies: dict[int, Stream] = {}
        for source in (*self._input.streams.subtitles, *self._input.streams.data):
            if fits_mp4(source):
                copy = output.add_stream_from_template(source)
                copy.metadata.update(source.metadata)
                self._copies[source.index] = copy
            else:
                self.left_out.append(_kind(source))
        self._ends = dict.fromkeys(self._copies, Fraction(0))
        self._last_ticks: dict[int, int] = {}
        self._start_s = start_s
        self._packets = self._demuxed()
        self._waiting: av.Packet | None = None

    def _demuxed(self) -> Iterator[av.Packet]:
        if not self._copies:
            return
        streams = [self._input.streams[index] for index in self._copies]
        try:
            for packet in self._input.demux(*streams):
                if packet.size and packet.pts is not None and packet.time_base:
                    yield packet
        except sound_errors():
            return  # the pictures tell of damage to the file

    def begin_by(self, time_s: Fraction) -> bool:
        """Whether each of the streams has something before `time_s`, counted from the first
        picture. To be asked before the first picture."""
        missing, ahead = set(self._copies), []
        while missing and (packet := next(self._packets, None)) is not None:
            ahead.append(packet)
            assert packet.pts is not None
            assert packet.time_base is not None
            if packet.pts * packet.time_base - self._start_s > time_s:
                break
            missing.discard(packet.stream.index)
        self._packets = chain(ahead, self._packets)
        return not missing

    def picture(self, source_s: float | None, time_s: Fraction) -> None:
        """A picture at `source_s` on the source's clock is written at `time_s`; what belongs
        before it is handed over.

        Raises:
            av.error.FFmpegError, OSError: the output cannot be written.
        """
        self._clock.picture(source_s, time_s)
        self._write_until(time_s)

    def _write_until(self, time_s: Fraction) -> None:
        while True:
            packet, self._waiting = self._waiting or next(self._packets, None), None
            if packet is None:
                return
            index = packet.stream.index
            assert packet.pts is not None
            assert packet.time_base is not None
            source_s = packet.pts * packet.time_base
            if self._clock.is_beside_none(source_s):
                continue
            at_s = self._clock.place(source_s, self._ends[index])
            if at_s is None or at_s >= time_s:
                self._waiting = packet
                return
            self._mux(packet, index, max(at_s, Fraction(0)))

    def _mux(self, packet: av.Packet, index: int, at_s: Fraction) -> None:
        self._output.start_encoding()
        copy = self._copies[index]
        base, own_base = copy.time_base, packet.time_base
        if base is None or own_base is None:
            return
        tick = max(round(at_s / base), self._last_ticks.get(index, -1) + 1)
        duration = round((packet.duration or 0) * own_base / base)
        packet.stream, packet.time_base = copy, base
        packet.pts = packet.dts = tick
        packet.duration = duration
        self._last_ticks[index] = tick
        self._ends[index] = at_s
        # FFmpeg's "invalid" is about this packet; what the disk says is an OSError.
        try:
            self._output.mux(packet)
        except ValueError:
            return

    def finish(self, end_s: Fraction) -> None:
        """Hand over what begins before `end_s`, the end of the last picture; close the source.

        Raises:
            av.error.FFmpegError, OSError: the output cannot be written.
        """
        self._write_until(end_s)
        self.close()

    def close(self) -> None:
        """Close the source; a second call does nothing."""
        self._input.close()


def _kind(source: Any) -> str:
    """What a stream is, for people: `subtitles (subrip)`, `data (klv)`."""
    context = getattr(source, "codec_context", None)
    codec = context.name if context is not None else getattr(source, "name", None)
    what = "subtitles" if source.type == "subtitle" else "data"
    return f"{what} ({codec})" if codec else what
