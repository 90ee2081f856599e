"""What a run tells those who watch it: after every step, and after every epoch."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["EpochEnd", "Progress"]


@dataclass(frozen=True)
class Progress:
    """Where a run stands, after every step; the command line draws it.

    `epoch` counts those that are over, and `epochs` is how many there will be, None where time ends
    the run. `fraction` is 0..1 of the whole schedule; `loss` is that of the step before the last
    one, and `miou` of the last validation, NaN before it.
    """

    epoch: int
    step: int
    fraction: float
    loss: float
    learning_rate: float
    miou: float
    best_miou: float
    elapsed_s: float
    epochs: int | None = None


@dataclass(frozen=True)
class EpochEnd:
    """What an epoch came to.

    Attributes:
        epoch: its number, from 1.
        epochs: how many there will be; None where time ends the run.
        fraction: 0..1, how much of the run is over.
        loss: its mean; NaN or infinite where the run went astray.
        learning_rate: of its last step.
        miou: of the validation after it; NaN if it was not validated.
        best_miou: of the weights kept so far; NaN before the first validation.
        elapsed_s: training time so far, over all resumptions.
        note: what else there is to say: that the run went back, and why.
    """

    epoch: int
    epochs: int | None
    fraction: float
    loss: float
    learning_rate: float
    miou: float
    best_miou: float
    elapsed_s: float
    note: str | None = None

    @property
    def left_s(self) -> float:
        """Training time that is left, if it goes on at this speed."""
        if self.fraction <= 0:
            return math.nan
        return self.elapsed_s * (1 - self.fraction) / self.fraction
