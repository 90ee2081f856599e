"""What lies on the asphalt: repairs, cracks, manholes, oil, arrows and words, seen from above."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.synth.noise import Array, Rng, fbm, stream
from roadseg.synth.street import Street
from roadseg.synth.town import CHUNK_M

_PER_M = 20
_SHRINK = 4  # the far version of the picture
_BACK, _AHEAD = 1, 2  # chunks behind and ahead of the camera; farther off, nothing shows
_WORDS = ("SLOW", "BUS", "KEEP", "20", "30", "STOP")


class DecalMap:
    """Tone and paint on the road, chunk by chunk."""

    def __init__(self, street: Street, mirrored: bool = False) -> None:
        self.street = street
        self.mirrored = mirrored
        self.half_m = street.layout.half_width + 0.5
        self._chunk = lru_cache(maxsize=12)(self._draw)
        self._strip = lru_cache(maxsize=2)(self._join)

    def look_up(self, s: Array, t: Array, footprint: Array, base_s: float) -> Array:
        """(h, w, 2) float32 at places of the street: change of tone, share of white paint.

        Args:
            s, t: (h, w) float32, `s` counted from `base_s`, the start of the camera's chunk.
            footprint: (h, w) size of the pixels in metres.
        """
        near, far = self._strip(round(base_s / CHUNK_M) - _BACK)
        y = (s + np.float32(_BACK * CHUNK_M)) * np.float32(_PER_M) - np.float32(0.5)
        x = (t + np.float32(self.half_m)) * np.float32(_PER_M) - np.float32(0.5)
        sharp = cv2.remap(near, x, y, cv2.INTER_LINEAR)
        scale = np.float32(1 / _SHRINK)
        soft = cv2.remap(far, x * scale, y * scale, cv2.INTER_LINEAR)
        weight = np.clip(footprint * (_PER_M / _SHRINK), 0, 1)[..., None]
        found = (sharp + (soft - sharp) * weight).astype(np.float32) / np.float32(127.0)
        return np.asarray(found, np.float32)

    def _join(self, first: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
        near = np.vstack([self._chunk(first + i) for i in range(_BACK + _AHEAD + 1)])
        size = (near.shape[1] // _SHRINK, near.shape[0] // _SHRINK)
        return near, cv2.resize(near, size, interpolation=cv2.INTER_AREA)

    def _draw(self, index: int) -> npt.NDArray[np.int16]:
        rng = stream(self.street.seed, 20, index + 1_000_000)
        height, width = int(CHUNK_M * _PER_M), int(2 * self.half_m * _PER_M)
        tone = np.zeros((height, width), np.float32)
        paint = np.zeros((height, width), np.float32)
        self._repairs(rng, tone)
        self._cracks(rng, tone)
        for _ in range(int(rng.integers(1, 5))):
            self._manhole(rng, tone)
        stains = fbm(rng, (height // 8, width // 8), 6, 4)
        tone += 0.03 * cv2.resize(stains, (width, height), interpolation=cv2.INTER_LINEAR)
        if rng.random() < 0.45:
            self._symbol(rng, paint)
        pixels = np.dstack([tone, paint])
        return np.clip(np.round(pixels * 127), -127, 127).astype(np.int16)

    def _repairs(self, rng: Rng, tone: Array) -> None:
        height, width = tone.shape
        for _ in range(int(rng.poisson(1.3))):
            long, wide = rng.uniform(1.0, 12.0), rng.uniform(0.5, 2.2)
            y = int(rng.uniform(0, height - 20))
            x = int(rng.uniform(0, max(1, width - wide * _PER_M)))
            y1, x1 = y + int(long * _PER_M), x + int(wide * _PER_M)
            shade = float(rng.choice([-0.2, -0.14, -0.1, 0.08]))
            cv2.rectangle(tone, (x, y), (x1, y1), shade, -1)
            cv2.rectangle(tone, (x, y), (x1, y1), shade - 0.14, 1, cv2.LINE_AA)
        if rng.random() < 0.3:  # a trench across the street
            y = int(rng.uniform(20, height - 30))
            tone[y : y + int(rng.uniform(8, 18))] = float(rng.uniform(-0.2, -0.08))

    def _cracks(self, rng: Rng, tone: Array) -> None:
        height, width = tone.shape
        middle = width // 2 + int(rng.normal(0, 3))
        tone[:, middle : middle + 1] -= 0.08  # the joint between two lanes' asphalt
        for _ in range(int(rng.poisson(2.0))):
            count = int(rng.integers(8, 30))
            steps = rng.normal(0, 1, (count, 2)) * (7, 5) + rng.normal(0, 5, 2)
            start = np.array([rng.uniform(0, width), rng.uniform(0, height)])
            line = np.cumsum(steps, axis=0) + start
            cv2.polylines(tone, [line.astype(np.int32)], False, -0.28, 1, cv2.LINE_AA)

    def _manhole(self, rng: Rng, tone: Array) -> None:
        height, width = tone.shape
        at = (int(rng.uniform(0.12, 0.88) * width), int(rng.uniform(0.02, 0.98) * height))
        if rng.random() < 0.5:
            cv2.circle(tone, at, 7, -0.34, -1, cv2.LINE_AA)
            cv2.circle(tone, at, 7, -0.1, 1, cv2.LINE_AA)
        else:
            corner = (at[0] + 13, at[1] + 11)
            cv2.rectangle(tone, at, corner, -0.3, -1)
            cv2.rectangle(tone, at, corner, -0.05, 1)

    def _symbol(self, rng: Rng, paint: Array) -> None:
        layout = self.street.layout
        height = paint.shape[0]
        lane_t = layout.ego_t if rng.random() < 0.7 else -layout.ego_t
        with_us = lane_t == layout.ego_t or layout.lanes == 1
        x = (lane_t + self.half_m) * _PER_M
        y = rng.uniform(0.2, 0.7) * height
        if rng.random() < 0.5:
            # Long in the driver's direction, as such arrows are.
            tip = np.array([(0, 80), (-9, 50), (-3, 50), (-3, 0), (3, 0), (3, 50), (9, 50)], float)
            kind = rng.random()
            if kind < 0.35:
                tip[:, 0] += np.clip(tip[:, 1] - 40, 0, 40) * (0.35 if kind < 0.18 else -0.35)
            tip = tip * (1, 1 if with_us else -1) + (x, y)
            cv2.fillPoly(paint, [np.round(tip * 16).astype(np.int32)], 1.0, cv2.LINE_AA, 4)
            return
        word = _WORDS[int(rng.integers(len(_WORDS)))]
        board = np.zeros((24, 13 * len(word)), np.uint8)
        cv2.putText(board, word, (1, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.62, 255, 2, cv2.LINE_AA)
        wide = min(int(2.0 * _PER_M), board.shape[1])
        word_picture = cv2.resize(board, (wide, int(2.6 * _PER_M)), interpolation=cv2.INTER_LINEAR)
        if self.mirrored:
            word_picture = word_picture[:, ::-1]
        word_picture = word_picture.astype(np.float32) / 255
        # Rows run ahead: what the driver reads upright lies head up along the street.
        word_picture = word_picture[::-1] if with_us else word_picture[:, ::-1]
        y0, x0 = int(y), int(x - wide / 2)
        x0 = max(0, min(x0, paint.shape[1] - wide))
        area = paint[y0 : y0 + word_picture.shape[0], x0 : x0 + wide]
        area[:] = word_picture[: area.shape[0], : area.shape[1]]
