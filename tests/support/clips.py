"""Small clips, made on the spot with PyAV."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from roadseg.core.types import Image

MakeClip = Callable[..., Path]

_SOUND_RATE = 16_000


def shade(i: int) -> int:
    """Grey level of frame i, far enough from its neighbours to survive encoding."""
    return 20 + (i * 12) % 220


def picture(i: int, size_hw: tuple[int, int]) -> Image:
    return np.full((*size_hw, 3), shade(i), dtype=np.uint8)


def write_clip(
    path: Path,
    *,
    frames: int = 12,
    size_hw: tuple[int, int] = (48, 64),
    rate: Fraction | int = 25,
    ticks: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    codec: str = "libx264",
    audio: str | None = None,
    audio_s: float | None = None,
    faststart: bool = False,
    images: Sequence[Image] | None = None,
    options: dict[str, str] | None = None,
    pix_fmt: str | None = None,
) -> Path:
    """Frame i is `images[i]`, or plain grey of `shade(i)`; its time is `ticks[i] * time_base`."""
    container_options = {"movflags": "+faststart"} if faststart else {}
    base = time_base or 1 / Fraction(rate)
    with av.open(str(path), "w", options=container_options) as output:
        stream = output.add_stream(codec, rate=rate, options=options or {})
        pictures = images or [picture(i, size_hw) for i in range(frames)]
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt or ("yuvj420p" if codec == "mjpeg" else "yuv420p")
        stream.codec_context.time_base = base
        sound = None
        if audio is not None:
            sound = output.add_stream(audio, rate=_SOUND_RATE)
            sound.codec_context.layout = "mono"
            sound.codec_context.format = "s16" if audio.startswith("pcm") else "fltp"
        for i, pixels in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(pixels, format="bgr24")
            frame.pts, frame.time_base = (ticks[i] if ticks else i), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if sound is not None:
            length_s = audio_s or len(pictures) / float(rate)
            _write_tone(output, sound, length_s)
    return path


def set_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write the display matrix of the video track, as telephones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 4 + 20 + 16  # version and flags, ids and times, layers
    a, b, c, d = (v << 16 for v in matrix)
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


def _write_tone(
    output: av.container.OutputContainer, sound: av.AudioStream, length_s: float
) -> None:
    """A 440 Hz tone."""
    samples = round(_SOUND_RATE * length_s)
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(samples) / _SOUND_RATE)
    sample_format = sound.codec_context.format.name
    size = sound.codec_context.frame_size or 512
    for start in range(0, samples, size):
        part = tone[None, start : start + size]
        data = (
            (part / 32768).astype(np.float32) if sample_format == "fltp" else part.astype(np.int16)
        )
        frame = av.AudioFrame.from_ndarray(data, format=sample_format, layout="mono")
        frame.sample_rate, frame.pts = _SOUND_RATE, start
        frame.time_base = Fraction(1, _SOUND_RATE)
        output.mux(sound.encode(frame))
    output.mux(sound.encode(None))
