"""Carries the sound of a video file over to the file that is being written."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.video.media import file_url, reason
from roadseg.video.timeline import Timeline

if TYPE_CHECKING:
    import av
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

__all__ = ["AudioTrack"]

# What an mp4 may hold and common players understand; anything else (PCM, ADPCM, Vorbis) is
# encoded anew as AAC.
_COPIED_CODECS = frozenset(["aac", "mp3", "mp3float", "ac3", "eac3", "alac", "opus", "flac"])
_MP3_LEAST_RATE = 16_000
_AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 11025, 8000)
_AAC_FRAME_SAMPLES = 1024
_DECODE_FAILURES = 100

# Sound from before the first picture has no place in the new file, but for a moment that decoders
# need to find their feet (AAC one packet, mp3 two or three). It is stored and not played.
_LEAD_IN_S = 0.1

# Sound that stops so much before the picture is worth a warning.
_SHORTFALL_S = 0.5


class AudioTrack:
    """The sound of `path`, in step with a video that is written at the same time.

    Opens the file on its own, since sound and picture are read by different threads. Damage to
    the sound never stops the video: what can be used is used, and `warnings` say the rest.

    Args:
        path: file that has sound.
        output: container to add a stream to, before anything is written to it.
        start_s: where the first picture lies on the file's clock; it becomes time 0.

    Raises:
        ValueError: the sound can neither be copied nor encoded.
        OSError, av.error.FFmpegError: the file cannot be opened.
    """

    def __init__(self, path: Path, output: OutputContainer, start_s: Fraction) -> None:
        import av

        self.warnings: list[str] = []
        self._output = output
        self._end_s = Fraction(0)
        self._failure: str | None = None
        self._input = av.open(file_url(path), "r")
        try:
            self._packets = self._prepare(path, start_s)
        except BaseException:
            self._input.close()
            raise
        self._waiting: tuple[Fraction, Fraction, av.Packet] | None = None

    def _prepare(self, path: Path, start_s: Fraction) -> Iterator[av.Packet]:
        import av
        from av.audio.stream import AudioStream

        source = self._input.streams.best("audio")
        if not isinstance(source, AudioStream) or source.codec_context is None:
            raise ValueError(f"the sound of {path} has a codec that cannot be read")
        base = source.time_base or Fraction(1, source.rate)
        step = round(Fraction(_AAC_FRAME_SAMPLES, source.rate or 48000) / base)
        timeline = Timeline(step, float(1 / base), origin=round(start_s / base))
        name = source.codec_context.name
        # mp4 refuses mp3 of less than 16 kHz, which cheap cameras record.
        refused = name.startswith("mp3") and source.rate < _MP3_LEAST_RATE
        if name in _COPIED_CODECS and not refused:
            copy = self._output.add_stream_from_template(source)
            return self._copied(source, copy, timeline)
        rate = source.rate if source.rate in _AAC_RATES else 48000
        encoded: AudioStream = self._output.add_stream("aac", rate=rate)
        encoded.codec_context.layout = "mono" if source.layout.nb_channels == 1 else "stereo"
        encoded.codec_context.format = av.AudioFormat("fltp")
        return self._encoded(source, encoded, timeline)

    def _demuxed(self, source: AudioStream) -> Iterator[av.Packet]:
        import av

        try:
            yield from self._input.demux(source)
        except IndexError:
            return  # PyAV stumbles at the end over streams that came up on the way
        except (av.error.FFmpegError, OSError) as exc:
            # The packets that were cut off are reported by `finish`, if they matter.
            self._failure = reason(exc)

    def _copied(
        self, source: AudioStream, copy: AudioStream, timeline: Timeline
    ) -> Iterator[av.Packet]:
        from av.bitstream import BitStreamFilterContext

        # AAC of transport streams has a header on each packet, mp4 one for all. The muxer would
        # turn it over by itself, but not for a file that grows in fragments.
        context = source.codec_context
        adts = context.name == "aac" and not context.extradata
        turned = BitStreamFilterContext("aac_adtstoasc", source) if adts else None
        for read in self._demuxed(source):
            if read.size == 0:
                continue
            for packet in [read] if turned is None else turned.filter(read):
                # Sound has no reordering: decoding and presentation time are the same.
                packet.dts = packet.pts = timeline.ticks(packet.pts)
                packet.stream = copy
                yield packet

    def _encoded(
        self, source: AudioStream, encoded: AudioStream, timeline: Timeline
    ) -> Iterator[av.Packet]:
        import av

        context = encoded.codec_context
        resampler = av.AudioResampler(
            format="fltp",
            layout=context.layout,
            rate=context.sample_rate,
            frame_size=_AAC_FRAME_SAMPLES,
        )
        failures = 0
        for packet in self._demuxed(source):
            try:
                frames = packet.decode()
            except (av.error.FFmpegError, OSError) as exc:
                failures += 1
                self._failure = reason(exc)
                if failures > _DECODE_FAILURES:
                    break
                continue
            for frame in frames:
                frame.pts = timeline.ticks(frame.pts)
                for piece in resampler.resample(frame):
                    yield from encoded.encode(piece)
        for piece in resampler.resample(None):
            yield from encoded.encode(piece)
        yield from encoded.encode(None)

    @property
    def begins_s(self) -> Fraction | None:
        """When the first packet that is not handed over yet begins, None if there is none."""
        if self._waiting is None:
            packet = next(self._packets, None)
            if packet is None:
                return None
            begin_s = (packet.pts or 0) * packet.time_base
            end_s = begin_s + (packet.duration or 0) * packet.time_base
            self._waiting = (begin_s, end_s, packet)
        return self._waiting[0]

    def write_until(self, time_s: Fraction) -> None:
        """Hand over the sound that begins before `time_s`, counted from the first picture.

        Raises:
            av.error.FFmpegError: the output cannot be written.
        """
        while True:
            if self._waiting is None:
                packet = next(self._packets, None)
                if packet is None:
                    return
                base = packet.time_base
                begin_s = (packet.pts or 0) * base
                self._waiting = (begin_s, begin_s + (packet.duration or 0) * base, packet)
            begin_s, end_s, packet = self._waiting
            if begin_s >= time_s:
                return
            self._waiting = None
            if end_s > -_LEAD_IN_S:
                self._output.mux(packet)
                self._end_s = end_s

    def finish(self, end_s: Fraction) -> None:
        """Hand over the sound up to the end of the last picture, and close the input."""
        self.write_until(end_s)
        if self._failure and end_s - self._end_s > _SHORTFALL_S:
            self.warnings.append(
                f"the sound is damaged ({self._failure}): it ends {float(self._end_s):.1f} s "
                f"into the video of {float(end_s):.1f} s"
            )
        self.close()

    def close(self) -> None:
        """Close the input; a second call does nothing."""
        self._input.close()
