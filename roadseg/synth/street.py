"""The endless street: its bends, and what stands along any stretch of it.

The street bends: the world's z is s, and its x is t + bend(s).
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from roadseg.synth.camera import Points
from roadseg.synth.noise import stream
from roadseg.synth.plots import make_chunk
from roadseg.synth.town import CHUNK_M, Chunk, make_town


class Street:
    """An endless street that depends on its seed only."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = stream(seed, 1)
        self.town = make_town(seed, rng)
        self.layout = self.town.layout
        self._waves = [
            (rng.uniform(2.0, 12.0), rng.uniform(55.0, 90.0), rng.uniform(0, 2 * np.pi)),
            (rng.uniform(0.0, 2.0), rng.uniform(26.0, 40.0), rng.uniform(0, 2 * np.pi)),
        ]
        self.chunk = lru_cache(maxsize=24)(partial(make_chunk, self.town))

    def bend(self, s: Points | float) -> Points:
        """Lateral offset of the street's middle at s."""
        z = np.asarray(s, dtype=float)
        total = np.zeros_like(z)
        for height, length, phase in self._waves:
            total = total + height * np.sin(z / length + phase)
        return total

    def heading(self, s: float) -> float:
        """Direction of the street at s, radians to the right of z."""
        slope = sum(h / length * np.cos(s / length + phase) for h, length, phase in self._waves)
        return float(np.arctan(slope))

    def place(self, s: float, t: float, y: float = 0.0) -> Points:
        """World coordinates (3,) of a place in the street."""
        return np.array([t + float(self.bend(s)), y, s])

    def chunks(self, s0: float, s1: float) -> list[Chunk]:
        """The chunks that touch s0..s1."""
        first, last = int(np.floor(s0 / CHUNK_M)), int(np.floor(s1 / CHUNK_M))
        return [self.chunk(i) for i in range(first, last + 1)]
