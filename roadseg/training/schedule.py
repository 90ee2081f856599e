"""How far a run is, and how the learning rate moves over it."""

from __future__ import annotations

import math

from roadseg.training.recipes import Recipe


class Course:
    """How far a run is: it ends after the recipe's epochs, or when its time is up.

    Args:
        recipe: epochs, and the learning rate.
        steps_per_epoch: of this run.
        time_budget_s: training time after which it ends, whatever the epochs; None for no limit.

    Attributes:
        step: taken so far.
        elapsed_s: training time so far, over all resumptions; validation not counted.
        epochs: how many there will be; None where time ends the run.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int, time_budget_s: float | None) -> None:
        self._recipe, self.steps_per_epoch = recipe, steps_per_epoch
        self._time_budget_s = time_budget_s
        self.epochs = recipe.epochs if time_budget_s is None else None
        self.step, self.elapsed_s = 0, 0.0

    @property
    def fraction(self) -> float:
        """How much of the run is over, 0..1."""
        if self._time_budget_s is not None:
            return min(1.0, self.elapsed_s / self._time_budget_s)
        return min(1.0, self.step / (self._recipe.epochs * self.steps_per_epoch))

    @property
    def finished(self) -> bool:
        """Whether the run has ended."""
        return self.fraction >= 1.0

    @property
    def left_s(self) -> float | None:
        """About how much training time is left; None before the first step."""
        fraction = self.fraction
        return self.elapsed_s * (1 - fraction) / fraction if fraction > 0 else None

    @property
    def averages_evenly(self) -> bool:
        """Whether weights are averaged evenly by now, see `swa_share`."""
        share = self._recipe.swa_share
        return share > 0 and self.fraction >= 1 - share

    def rate(self) -> float:
        """The learning rate of the step that comes next."""
        return learning_rate(self._recipe, self.step, self.steps_per_epoch, self.fraction)


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, fraction: float) -> float:
    """The rate of one step.

    Args:
        recipe: peak, warm-up and shape.
        step: steps taken before this one.
        steps_per_epoch: to count the warm-up in.
        fraction: 0..1, how much of the run is over; from time where time is what ends it.

    Returns:
        `learning_rate` times the warm-up's linear rise times the shape: `poly`,
        (1 - fraction) ** poly_power, or `cosine`, (1 + cos(pi fraction)) / 2. In the part of the
        run over which weights are averaged evenly (`swa_share`), the rate stays where it is when
        that part begins: the average then spans a region, not a path to a point
        (Izmailov et al. 2018).
    """
    warm = (step + 1) / (1 + recipe.warmup_epochs * steps_per_epoch)
    at = min(fraction, 1 - recipe.swa_share) if recipe.swa_share else fraction
    if recipe.schedule == "cosine":
        shape = (1 + math.cos(math.pi * at)) / 2
    else:
        shape = (1 - at) ** recipe.poly_power
    return recipe.learning_rate * min(1.0, warm) * shape
