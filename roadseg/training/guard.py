"""Tells a run that diverges from one whose loss is merely noisy."""

from __future__ import annotations

import math
from statistics import median
from typing import Any

from roadseg.training.recipes import Recipe

# What a median is taken over: so many epochs, and so many steps, at least.
_EPOCHS, _STEPS = 5, 50


class Guard:
    """Watches the loss of every epoch; each process of several comes to the same conclusions.

    The loss is smoothed: the median of the last five epochs, or of as many as make fifty steps, so
    that epochs that are bad one by one change nothing. It has risen well above its best once it is
    `guard_rise` times that, and higher by a tenth of what it had fallen by, too: a loss close to
    zero doubles easily. The best counts from the end of the warm-up, before which a loss may rise
    with the rate.

    Args:
        recipe: what is allowed.
        steps_per_epoch: how many losses that of an epoch is the mean of.

    Attributes:
        returns: how often the run has gone back.
        kept: the epoch whose checkpoint there is to go back to; None without one.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self._recipe = recipe
        self._window = max(_EPOCHS, math.ceil(_STEPS / steps_per_epoch))
        self.returns = 0
        self.kept: int | None = None
        self.forget()

    def forget(self) -> None:
        """Begin to watch anew, as when a run goes on at a higher rate than it had ended at."""
        self._losses: list[float] = []
        self._first = self._best = math.nan
        self._lowest = math.inf

    @property
    def rate_scale(self) -> float:
        """What the learning rate is multiplied by: half for every time that the run went back."""
        return 0.5**self.returns

    @property
    def can_go_back(self) -> bool:
        """Whether there is a checkpoint to go back to, and it may."""
        return self.kept is not None and self.returns < self._recipe.guard_returns

    def watch(self, epoch: int, loss: float) -> str | None:
        """Take note of an epoch.

        Args:
            epoch: its number, from 1.
            loss: its mean loss, finite.

        Returns:
            What is wrong, in words; None while nothing is.
        """
        self._lowest = min(self._lowest, loss)
        if epoch <= self._recipe.warmup_epochs:
            return None
        self._losses = [*self._losses, loss][-self._window :]
        if len(self._losses) < self._window:
            return None
        smoothed = median(self._losses)
        if math.isnan(self._best):
            self._first = self._best = smoothed
        self._best = min(self._best, smoothed)
        if self._recipe.guard_rise and smoothed > self._best + self._margin:
            return f"the loss has risen from {self._best:.4g} to {smoothed:.4g}"
        return None

    def is_time_to_keep(self, epoch: int) -> bool:
        """Whether a checkpoint to go back to should be written after an epoch that was watched.

        After the first one, and then every `validate_every` epochs at most: when the loss is near
        its best, and not on its way up.
        """
        if self.kept is None:
            return True
        if epoch - self.kept < self._recipe.validate_every:
            return False
        if len(self._losses) < self._window:
            return bool(self._losses) and self._losses[-1] <= self._lowest
        smoothed = median(self._losses)
        return self._losses[-1] <= smoothed <= self._best + self._margin / 4

    def go_back(self, epoch: int) -> None:
        """The run goes on from the checkpoint of an epoch: what led away from it counts no more."""
        self.returns += 1
        self.kept = epoch
        self._losses = []

    @property
    def _margin(self) -> float:
        return max((self._recipe.guard_rise - 1) * self._best, (self._first - self._best) / 10)

    # -- state -----------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs."""
        return {
            "returns": self.returns,
            "kept": self.kept,
            "losses": list(self._losses),
            "first": self._first,
            "best": self._best,
            "lowest": self._lowest,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as before; those of earlier versions, which had no guard, know nothing.

        Raises:
            KeyError: it is no state of a guard.
        """
        self.forget()
        self.returns, self.kept = 0, None
        if state:
            self.returns, self.kept = state["returns"], state["kept"]
            self._losses = list(state["losses"])
            self._first, self._best = state["first"], state["best"]
            self._lowest = state["lowest"]
