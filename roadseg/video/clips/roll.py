"""How much of the time around an event a clip shows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from roadseg.core.errors import UsageError
from roadseg.core.wording import option

MOST_S = 600.0
"""What a clip shows before its event is kept in memory."""


@dataclass(frozen=True, slots=True)
class Roll:
    """Seconds before an event begins and after it ends.

    Raises:
        UsageError: less than nothing, or more than ten minutes.
    """

    pre_s: float = 5.0
    post_s: float = 5.0

    def __post_init__(self) -> None:
        for name, seconds in (("--pre-roll", self.pre_s), ("--post-roll", self.post_s)):
            if not (math.isfinite(seconds) and 0 <= seconds <= MOST_S):
                raise UsageError(
                    f"a clip cannot have {option(name, f'{seconds:g}')}",
                    fix=f"use 0 to {MOST_S:g} seconds, such as {option(name, 5)}",
                )
