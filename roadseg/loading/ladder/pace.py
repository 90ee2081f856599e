"""How fast a network has to be for a source."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from roadseg.core.size import SizeHW

ASSUMED_RATE = 30
"""Frames a second of a source that does not say."""

MARGIN = 1.2
"""So much faster than the source a run is to be: other programs want the processor, too."""

BESIDE_MS = 4.5
"""Processor time beside the network of a frame that is decoded, drawn and encoded, whatever its
size; measured on two cores of an EPYC (Zen 4), see docs/speed.md."""

PLANAR_MS_PER_MEGAPIXEL = 10.5
"""What comes on top of `BESIDE_MS` where pictures stay in the planes that they are stored in."""

BGR_MS_PER_MEGAPIXEL = 17.5
"""The same where they are drawn in BGR."""

CARRIED_MS = 3.0
"""Processor time of a frame whose labels are carried from those around it."""

# The stages of the video loop are so many threads.
_STAGES = 4


@dataclass(frozen=True, slots=True)
class Pace:
    """What a source asks for.

    Attributes:
        source_hw: size of its frames.
        rate: frames a second; None: the source does not say; 0: it need not be kept up with, as
            with pictures.
        cores: that the run may use.
        every: the network sees every so many frames, and labels are carried to the others.
        planar: pictures stay in the planes that they are stored in; not those of every file do.
    """

    source_hw: SizeHW
    rate: Fraction | float | None
    cores: int
    every: int = 1
    planar: bool = False

    @property
    def per_second(self) -> float:
        """Frames a second to keep up with."""
        return float(ASSUMED_RATE if self.rate is None else self.rate)

    @property
    def beside_ms(self) -> float:
        """Processor time of a frame beside the network."""
        height, width = self.source_hw
        a_megapixel_ms = PLANAR_MS_PER_MEGAPIXEL if self.planar else BGR_MS_PER_MEGAPIXEL
        carried = 1 - 1 / self.every
        return BESIDE_MS + a_megapixel_ms * height * width / 1e6 + CARRIED_MS * carried

    @property
    def network_ms(self) -> float:
        """How long the network may take for a frame that it sees; at most 0 where the rest alone
        is too much.

        While the network runs it has all cores, and the other stages take theirs from it. Of the
        frames that it does not see it has the time as well.

        >>> Pace((540, 960), 25, cores=2, planar=True).network_ms
        28.36...
        >>> Pace((540, 960), 25, cores=2, planar=True, every=2).network_ms
        55.22...
        """
        if self.per_second == 0:
            return math.inf
        a_frame_ms = 1e3 / self.per_second / MARGIN
        return self.every * (a_frame_ms - self._beside_by_the_clock_ms)

    def frame_ms(self, network_ms: float) -> float:
        """What a frame of the whole run takes, where the network takes `network_ms`."""
        return network_ms / self.every + self._beside_by_the_clock_ms

    @property
    def _beside_by_the_clock_ms(self) -> float:
        return self.beside_ms / max(min(self.cores, _STAGES), 1)

    def __str__(self) -> str:
        text = f"{self.per_second:.4g} frames a second"
        return text if self.rate is not None else f"{text} (assumed: the source does not say)"
