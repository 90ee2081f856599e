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

BESIDE_MS_PER_MEGAPIXEL = 30.0
"""Processor time beside the network of a frame that is decoded, drawn and encoded; measured on two
cores of an EPYC (Zen 4), see docs/performance.md."""

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
    """

    source_hw: SizeHW
    rate: Fraction | float | None
    cores: int
    every: int = 1

    @property
    def per_second(self) -> float:
        """Frames a second to keep up with."""
        return float(ASSUMED_RATE if self.rate is None else self.rate)

    @property
    def network_ms(self) -> float:
        """How long the network may take for a frame that it sees; at most 0 where the rest alone
        is too much.

        While the network runs it has all cores, and the other stages take theirs from it.

        >>> Pace((540, 960), 25, cores=2).network_ms
        25.55...
        """
        if self.per_second == 0:
            return math.inf
        beside_ms = BESIDE_MS_PER_MEGAPIXEL * self.source_hw[0] * self.source_hw[1] / 1e6
        return 1e3 / self.per_second / MARGIN - beside_ms / max(min(self.cores, _STAGES), 1)

    def __str__(self) -> str:
        text = f"{self.per_second:.4g} frames a second"
        return text if self.rate is not None else f"{text} (assumed: the source does not say)"
