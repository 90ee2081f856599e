"""How the learning rate moves over a run."""

from __future__ import annotations

import math

from roadseg.training.recipes import Recipe


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
