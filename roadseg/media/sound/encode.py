"""Decoded sound of any kind to packets of one kind, every sample in its place."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import av
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler


Samples = npt.NDArray[np.float32]
"""(channels, samples) float32, -1..1."""

_FRAME_SAMPLES = 1024

# Stamps are rounded, to a millisecond in many files. Less than this is no gap.
_JITTER_S = Fraction(1, 25)
_JITTER_AFTER_LOSS_S = Fraction(1, 200)

# Silence is made in parts, so that an hour of it needs no memory.
_SILENCE_SAMPLES = 1 << 16


class SoundEncoder:
    """Fills gaps with silence, leaves out what overlaps, follows changes of rate and channels.

    Args:
        context: an audio encoder whose rate, layout and format are set.
        begin: samples of the output before the first one that it makes.

    Attributes:
        silent_s: silence put in so far, but for that before the first sound.
    """

    def __init__(self, context: AudioCodecContext, begin: int = 0) -> None:
        self.silent_s = Fraction(0)
        self._context = context
        self._rate = int(context.sample_rate)
        self._layout = context.layout.name
        self._channels = context.layout.nb_channels
        self._begin = begin
        self._cursor = begin  # samples handed to the encoder or waiting in `_rest`
        self._rest: Samples = np.zeros((self._channels, 0), dtype=np.float32)
        self._resampler: AudioResampler | None = None
        self._kind: tuple[object, ...] = ()
        self._end_s = Fraction(begin, self._rate)
        self._heard = begin > 0

    @property
    def is_heard(self) -> bool:
        """Whether there has been sound, its own or that before it."""
        return self._heard

    @property
    def end_s(self) -> Fraction:
        """Where the sound put in so far ends, in seconds of the output."""
        return self._end_s

    def put(
        self, frame: AudioFrame, begin_s: Fraction, *, after_loss: bool = False
    ) -> Iterator[av.Packet]:
        """Encode `frame`, which begins at `begin_s`; sound before 0 is left out."""
        kind = (frame.sample_rate, frame.format.name, frame.layout.name)
        apart_s = begin_s - self._end_s
        jumps = abs(apart_s) > (_JITTER_AFTER_LOSS_S if after_loss else _JITTER_S)
        if kind != self._kind or jumps:
            yield from self._drain()
            self._kind = kind
        if jumps:
            yield from self.silence_until(begin_s)
            self._end_s = begin_s
        skip = max(self._cursor - round(begin_s * self._rate), 0) if jumps else 0
        if self._resampler is None:
            self._resampler = self._new_resampler()
        self._end_s += Fraction(frame.samples, frame.sample_rate)
        if skip and self._end_s * self._rate <= self._cursor:
            self._end_s = Fraction(self._cursor, self._rate)
            return  # all of it was heard before
        frame.pts = None
        samples = self._joined(self._resampler.resample(frame))
        self._heard = True
        yield from self._encode(samples[:, skip:])
        if skip:
            # The resampler holds samples back; what it gives next belongs after the skipped.
            self._end_s = max(self._end_s, Fraction(self._cursor, self._rate))

    def silence_until(self, time_s: Fraction) -> Iterator[av.Packet]:
        """Encode silence up to `time_s`, if the sound ends before."""
        missing = round(time_s * self._rate) - self._cursor
        if missing <= 0:
            return
        yield from self._drain()
        missing = max(round(time_s * self._rate) - self._cursor, 0)
        if self._heard:
            self.silent_s += Fraction(missing, self._rate)
        while missing > 0:
            part = min(missing, _SILENCE_SAMPLES)
            yield from self._encode(np.zeros((self._channels, part), dtype=np.float32))
            missing -= part
        self._end_s = max(self._end_s, Fraction(self._cursor, self._rate))

    def finish(self) -> Iterator[av.Packet]:
        """Encode what is left."""
        yield from self._drain()
        if self._rest.shape[1]:
            yield from self._packets(self._frame(self._rest))
        yield from self._packets(None)

    def _new_resampler(self) -> AudioResampler:
        from av.audio.resampler import AudioResampler

        return AudioResampler(format="fltp", layout=self._layout, rate=self._rate)

    def _drain(self) -> Iterator[av.Packet]:
        """Take out what the resampler holds back."""
        resampler, self._resampler = self._resampler, None
        if resampler is not None:
            yield from self._encode(self._joined(resampler.resample(None)))

    def _joined(self, frames: list[AudioFrame]) -> Samples:
        parts = [np.asarray(f.to_ndarray(), dtype=np.float32) for f in frames if f.samples]
        if not parts:
            return np.zeros((self._channels, 0), dtype=np.float32)
        return np.concatenate(parts, axis=1)

    def _encode(self, samples: Samples) -> Iterator[av.Packet]:
        # A damaged float stream decodes to anything; an encoder refuses what is no number.
        samples = np.nan_to_num(samples, nan=0.0, posinf=0.0, neginf=0.0).clip(-1, 1)
        self._cursor += samples.shape[1]
        size = self._context.frame_size or _FRAME_SAMPLES
        waiting = np.concatenate([self._rest, samples], axis=1)
        whole = waiting.shape[1] // size * size
        at = self._cursor - waiting.shape[1]
        for start in range(0, whole, size):
            yield from self._packets(self._frame(waiting[:, start : start + size], at + start))
        self._rest = waiting[:, whole:]

    def _frame(self, samples: Samples, at: int | None = None) -> AudioFrame:
        from av.audio.frame import AudioFrame

        data = np.ascontiguousarray(samples, dtype=np.float32)
        frame = AudioFrame.from_ndarray(data, format="fltp", layout=self._layout)
        frame.sample_rate = self._rate
        frame.pts = self._cursor - samples.shape[1] if at is None else at
        frame.time_base = Fraction(1, self._rate)
        return frame

    def _packets(self, frame: AudioFrame | None) -> Iterator[av.Packet]:
        for packet in self._context.encode(frame):
            # Before the first sample comes the run-up of the encoder. At 0 an edit list hides
            # it; behind copied sound there is no room for it.
            if self._begin == 0 or packet.pts is None or packet.pts >= self._begin:
                yield packet
