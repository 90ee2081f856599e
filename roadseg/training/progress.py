"""What a run shows to those who watch it: a state after every step, another after every epoch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from roadseg.core.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingProgress(Progress):
    """Where a run stands after a step.

    `fraction` is that of the whole schedule; `elapsed_s` is training time, over all resumptions,
    and `left_s` what is left of it at this speed.

    Attributes:
        epoch: those that are over.
        epochs: how many there will be; None where time ends the run.
        step: those that are over.
        loss: of the step before the last one; NaN before it.
        learning_rate: of the last step.
        miou: of the last validation; NaN before it.
        best_miou: of the weights kept so far; NaN before the first validation.
    """

    stage: str = "training"
    epoch: int
    epochs: int | None
    step: int
    loss: float
    learning_rate: float
    miou: float
    best_miou: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochEnd(TrainingProgress):
    """What an epoch came to.

    Here `loss` is its mean, NaN or infinite where the run went astray; and `miou` is of the
    validation after it, NaN if it was not validated.

    Attributes:
        note: what else there is to say: that the run went back, and why.
    """

    note: str | None = None


ShowTraining: TypeAlias = Callable[[TrainingProgress], None]
