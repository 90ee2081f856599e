"""Which sound an mp4 can carry as it is, and what goes on where its packets end."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import TYPE_CHECKING, cast

from roadseg.media.sound.reader import sound_errors

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.stream import AudioStream
    from av.stream import Stream


AAC_RATES = (48000, 44100, 32000, 24000, 22050, 16000, 11025, 8000)
"""Samples per second that AAC is encoded with."""

# What mp4 holds, browsers play, and can be gone on with by an encoder where the source's own
# packets cannot be used; that encoder and its format of samples.
_ENCODERS = {"aac": ("aac", "fltp"), "mp3": ("libmp3lame", "fltp"), "opus": ("libopus", "flt")}
_DECODERS = {"mp3float": "mp3", "libopus": "opus"}
_MP3_LEAST_RATE = 16_000
_ADTS_HEADER = 7


def successor(source: AudioStream, rate: int, channels: int) -> AudioCodecContext | None:
    """An encoder that can go on where copied packets of `source` end; None if they cannot be
    copied at all, and the sound has to be encoded anew."""
    import av

    context = source.codec_context
    name = _DECODERS.get(context.name, context.name)
    if name not in _ENCODERS or channels not in (1, 2):
        return None
    # mp4 refuses mp3 of less than 16 kHz, which cheap cameras record.
    if name == "mp3" and rate < _MP3_LEAST_RATE:
        return None
    # Of AAC, the plain kind; the others halve the rate, and no encoder can go on with them.
    plain = context.profile == "LC" and context.frame_size in (0, 1024)
    if name == "aac" and not (plain and rate in AAC_RATES):
        return None
    if not fits_mp4(source):
        return None
    try:
        encoder, sample_format = _ENCODERS[name]
        go_on = cast("AudioCodecContext", av.CodecContext.create(encoder, "w"))
        go_on.sample_rate = rate
        go_on.time_base = Fraction(1, rate)
        go_on.layout = "mono" if channels == 1 else "stereo"
        go_on.format = av.AudioFormat(sample_format)
        go_on.open()
    except sound_errors():
        return None
    return go_on


def fits_mp4(source: Stream) -> bool:
    """Whether an mp4 with a copy of this stream can be begun.

    Tried in memory: a header that mp4 refuses would cost the whole result.
    """
    import av

    try:
        with av.open(io.BytesIO(), "w", format="mp4") as rehearsal:
            rehearsal.add_stream_from_template(source)
            rehearsal.start_encoding()
    except sound_errors():
        return False
    return True


def adts_header(data: bytes) -> bytes | None:
    """The header that AAC has in transport streams, None for bare AAC."""
    return data[:_ADTS_HEADER] if len(data) > _ADTS_HEADER and _is_sync(data) else None


def _is_sync(data: bytes) -> bool:
    return data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def wrap(header: bytes, data: bytes) -> bytes:
    """Bare AAC with the header of another packet: no checksum, its own length, one block."""
    size = len(data) + _ADTS_HEADER
    return (
        bytes(
            [
                header[0],
                header[1] | 1,
                header[2],
                header[3] & 0xFC | size >> 11,
                size >> 3 & 0xFF,
                (size & 7) << 5 | header[5] & 0x1F,
                header[6] & 0xFC,
            ]
        )
        + data
    )
