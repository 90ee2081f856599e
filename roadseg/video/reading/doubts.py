"""Doubt of each frame: how sure the network is, and whether to trust the picture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from roadseg.core.types import Labels
from roadseg.render import HudLine
from roadseg.road import Doubt, Trust, doubt_maps, picture_doubt
from roadseg.road.doubt import Scores

# Pixels are looked at in every second row and column: a quarter of the time, and all that one sees.
_STEP = 2
_FLAG = "do not trust"


@dataclass(frozen=True, slots=True, eq=False)
class DoubtReading:
    """Of one frame.

    Attributes:
        doubt: of the picture.
        is_doubtful: its labels are not to be trusted.
        pixels: (h, w) float32 entropy, 0 (sure) to 1, smaller than the label map; None where no
            view shows it.
    """

    doubt: Doubt
    is_doubtful: bool
    pixels: npt.NDArray[np.float32] | None = None

    def hud_line(self) -> HudLine:
        """What the head-up display shows of it."""
        flag = _FLAG if self.is_doubtful else ""
        return HudLine(f"doubt {self.doubt.entropy:.2f}", flag, "doubt 0.00", _FLAG)


class Doubts:
    """Reads doubt from the scores of one frame after the other, and keeps the means.

    Args:
        trust: when a picture is not to be trusted.
        with_pixels: `DoubtReading.pixels` are wanted.
        temperature: that scores are divided by; see `roadseg.road.doubt_maps`.
    """

    def __init__(self, trust: Trust, *, with_pixels: bool, temperature: float = 1.0) -> None:
        self._trust, self._with_pixels, self._temperature = trust, with_pixels, temperature
        self._frames = self._doubtful = 0
        self._entropy = 0.0

    def read(self, scores: Scores, network_ids: Labels) -> DoubtReading:
        """The doubt of a frame.

        Args:
            scores: (classes, h, w) float32, before softmax.
            network_ids: (h, w) uint8, the labels picked from them.
        """
        doubt = picture_doubt(scores, self._temperature, network_ids)
        is_doubtful = self._trust.is_doubtful(doubt)
        self._frames += 1
        self._doubtful += is_doubtful
        self._entropy += doubt.entropy
        pixels = None
        if self._with_pixels:
            pixels = doubt_maps(scores[:, ::_STEP, ::_STEP], self._temperature).entropy
        return DoubtReading(doubt, is_doubtful, pixels)

    def to_json(self) -> dict[str, object]:
        """As `--stats-json` writes it; None before the first frame."""
        count = self._frames
        return {
            "doubt": round(self._entropy / count, 6) if count else None,
            "doubtful": round(self._doubtful / count, 6) if count else None,
        }
