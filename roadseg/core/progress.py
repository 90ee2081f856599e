"""How far something that takes long is: one value for every function that can tell.

Such functions take `progress`, a function that gets a `Progress` now and then, or None. What
they have to say in words goes to `logging`, under the module's name; the command line prints it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

# A guess from less than this would jump about.
_ETA_FROM_FRACTION = 0.02
_ETA_FROM_S = 1.0


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is.

    Attributes:
        stage: what is being done, in a word: `reading`, `exporting`, `building`.
        fraction: of the stage, 0..1; it never falls within one.
        detail: what exactly, in a few words; may be empty.
        elapsed_s: seconds since the stage began.
        left_s: seconds until its end, about; None while that is unknown.
    """

    stage: str
    fraction: float
    detail: str = ""
    elapsed_s: float = 0.0
    left_s: float | None = None


ShowProgress: TypeAlias = Callable[[Progress], None]


class StageClock:
    """Times one stage.

    Args:
        stage: see `Progress`.
        show: gets every state; None for nobody.
        clock: seconds; a fake one in tests.
    """

    def __init__(
        self,
        stage: str,
        show: ShowProgress | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stage, self._show, self._clock = stage, show, clock
        self._start = clock()
        self._fraction = 0.0

    def at(self, fraction: float, detail: str = "") -> Progress:
        """Show, and return, the state at that fraction of the stage, now."""
        self._fraction = max(self._fraction, min(fraction, 1.0))
        elapsed_s = self._clock() - self._start
        left_s = None
        if self._fraction >= _ETA_FROM_FRACTION and elapsed_s >= _ETA_FROM_S:
            left_s = elapsed_s * (1 - self._fraction) / self._fraction
        state = Progress(self._stage, self._fraction, detail, elapsed_s, left_s)
        if self._show is not None:
            self._show(state)
        return state

    def step(self, done: int, total: int | None) -> Progress:
        """Show so much of the stage, of how much if that is known: frames, for example."""
        return self.at(done / total if total else 0.0, f"{done}/{total or '?'}")
