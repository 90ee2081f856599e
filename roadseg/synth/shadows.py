"""Shadows of standing things on the ground, as a picture of the street from above."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.synth.light import Light
from roadseg.synth.noise import Array, stream
from roadseg.synth.street import Street
from roadseg.synth.town import CHUNK_M, Item

_ToPixels = Callable[[list[tuple[float, float]]], npt.NDArray[np.int32]]
"""From places (s, t) to points of the picture, in 1/16 pixel."""

_PER_M = 5
_HALF_M = 24.0
_BACK, _AHEAD = 1, 4  # chunks behind and ahead of the camera that the picture covers


class ShadowMap:
    """How much of the sun's light is kept off the ground."""

    def __init__(self, street: Street, light: Light) -> None:
        self.street = street
        self.light = light
        sun = light.sun_vector
        # A thing one metre high throws its shadow this far along s and t.
        self.throw = (-sun[2] / sun[1], -sun[0] / sun[1])
        self._chunk = lru_cache(maxsize=16)(self._draw)
        self._strip = lru_cache(maxsize=2)(self._join)

    def look_up(self, s: Array, t: Array, base_s: float) -> Array:
        """Shade (h, w), 0..1, at places of the street.

        Args:
            s, t: (h, w) float32, `s` counted from `base_s`, the start of the camera's chunk.
        """
        if self.light.sun < 0.05:
            return np.zeros_like(s)
        strip = self._strip(round(base_s / CHUNK_M) - _BACK)
        y = (s + np.float32(_BACK * CHUNK_M)) * np.float32(_PER_M)
        x = (t + np.float32(_HALF_M)) * np.float32(_PER_M)
        return np.asarray(cv2.remap(strip, x, y, cv2.INTER_LINEAR), np.float32)

    def at(self, s: float, t: float) -> float:
        """Shade at one place of the street."""
        if self.light.sun < 0.05:
            return 0.0
        index = int(np.floor(s / CHUNK_M))
        chunk = self._chunk(index)
        row = min(int((s - index * CHUNK_M) * _PER_M), chunk.shape[0] - 1)
        column = int(np.clip((t + _HALF_M) * _PER_M, 0, chunk.shape[1] - 1))
        return float(chunk[row, column])

    def _join(self, first: int) -> Array:
        return np.vstack([self._chunk(first + i) for i in range(_BACK + _AHEAD + 1)])

    def _draw(self, index: int) -> Array:
        rows, columns = int(CHUNK_M * _PER_M), int(2 * _HALF_M * _PER_M)
        margin = int(20 * _PER_M)
        picture = np.zeros((rows + 2 * margin, columns), np.float32)
        start = index * CHUNK_M
        throw_s, throw_t = np.clip(self.throw, -4, 4)

        def pixels(places: list[tuple[float, float]]) -> npt.NDArray[np.int32]:
            fixed = [((t + _HALF_M) * _PER_M, (s - start) * _PER_M + margin) for s, t in places]
            return np.asarray(np.round(np.array(fixed) * 16), np.int32)

        for chunk in self.street.chunks(start - CHUNK_M, start + 2 * CHUNK_M - 1):
            for b in chunk.buildings:
                height = b.floors * 2.9 + 0.5
                ds, dt = throw_s * height, throw_t * height
                back = b.front_t + np.sign(b.front_t) * 9
                base = [(b.s0, b.front_t), (b.s1, b.front_t), (b.s1, back), (b.s0, back)]
                cast = base + [(s + ds, t + dt) for s, t in base]
                hull = cv2.convexHull(pixels(cast))
                cv2.fillConvexPoly(picture, hull, 1.0, 8, 4)
            for item in chunk.items:
                self._item(picture, item, pixels, (throw_s, throw_t))
        picture = cv2.GaussianBlur(picture, (0, 0), 0.9)
        return np.asarray(picture[margin : margin + rows], np.float32)

    def _item(
        self, picture: Array, item: Item, pixels: _ToPixels, throw: tuple[float, float]
    ) -> None:
        if item.kind in ("tree", "bush"):
            rng = stream(self.street.seed, 5, int(item.s * 100) + 10_000_000)
            trunk = [
                (item.s, item.t),
                (item.s + throw[0] * item.size * 0.5, item.t + throw[1] * item.size * 0.5),
            ]
            a, b = pixels(trunk)
            cv2.line(picture, a.tolist(), b.tolist(), 0.9, 2, 8, 4)
            heights = item.size * rng.uniform(0.45, 0.95, 60)
            off = rng.normal(0, item.size * 0.13, (2, 60))
            places = zip(
                (item.s + throw[0] * heights + off[0]).tolist(),
                (item.t + throw[1] * heights + off[1]).tolist(),
                strict=True,
            )
            spots = pixels(list(places)).tolist()
            radii = (rng.uniform(0.15, 0.5, 60) * _PER_M * 16).astype(int).tolist()
            shades = rng.uniform(0.6, 0.95, 60).tolist()
            for spot, radius, shade in zip(spots, radii, shades, strict=True):
                cv2.circle(picture, spot, radius, shade, -1, 8, 4)
        elif item.kind in ("lamp", "traffic_light", "sign", "bollard"):
            height = {"lamp": item.size, "traffic_light": 3.2, "sign": item.size, "bollard": 1.0}
            up = height[item.kind]
            a, b = pixels([(item.s, item.t), (item.s + throw[0] * up, item.t + throw[1] * up)])
            cv2.line(picture, a.tolist(), b.tolist(), 0.75, 1, cv2.LINE_AA, 4)
        elif item.kind in ("wall", "hedge", "planks"):
            ds, dt = throw[0] * item.size, throw[1] * item.size
            a, b = (item.s, item.t), (item.s + item.facing, item.t)
            cast = [a, b, (b[0] + ds, b[1] + dt), (a[0] + ds, a[1] + dt)]
            cv2.fillConvexPoly(picture, cv2.convexHull(pixels(cast)), 1.0, 8, 4)
