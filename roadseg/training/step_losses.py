"""Reading losses without making a GPU wait."""

from __future__ import annotations

import torch
from torch import Tensor


class StepLosses:
    """The losses of an epoch's steps, each read one step late.

    To read a loss is to wait until the GPU has come to it. One step late, the GPU has the next
    step to work on meanwhile, and never waits for the host.

    Attributes:
        values: those read so far, in the order of the steps.
    """

    def __init__(self) -> None:
        self.values: list[float] = []
        self._waiting: tuple[Tensor, torch.cuda.Event | None] | None = None

    def add(self, loss: Tensor) -> None:
        """Read the loss of the step before, and keep this one for later.

        Args:
            loss: of one step, a scalar.
        """
        self.finish()
        # A copy of its own: `.item()` would wait for all that has been asked of the GPU since.
        copy, copied = loss.detach().to("cpu", non_blocking=True), None
        if loss.is_cuda:
            copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
            copied.record()
        self._waiting = (copy, copied)

    def finish(self) -> None:
        """Read what is left to be read."""
        if self._waiting is None:
            return
        copy, copied = self._waiting
        self._waiting = None
        if copied is not None:
            copied.synchronize()
        self.values.append(float(copy))
