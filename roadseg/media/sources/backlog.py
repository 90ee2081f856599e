"""What a live source has piled up while nobody read it: at the start, while a network compiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from roadseg.core.errors import SourceError

T = TypeVar("T")

_STALE_S = 0.2


def newest(
    first: tuple[T, float],
    take: Callable[[], tuple[T, float]],
    step_s: float,
    clock: Callable[[], float],
) -> tuple[T, float]:
    """The picture to begin with: a recording shall not begin with one that stands for a second.

    Args:
        first: a picture, and when it was captured.
        take: waits for the next one.
        step_s: usual seconds between pictures.
        clock: what `first` was captured by.

    Returns:
        `first` if it is fresh; else the first picture that had to be waited for. Of a source that
        never lets anybody wait, as many are passed over as can have piled up.
    """
    age_s = clock() - first[1]
    if age_s < _STALE_S:
        return first
    latest = first
    for _ in range(round(1.5 * age_s / step_s) + 1):
        before_s = clock()
        try:
            latest = take()
        except SourceError:
            return latest  # whoever reads on meets the error again
        if clock() - before_s > step_s / 2:
            break
    return latest
