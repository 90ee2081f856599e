"""Fewer points for a chart, with every peak."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MOST_POINTS = 8000
"""Beyond, two points for each part of the time: the least and the most."""

_Numbers = npt.NDArray[np.float64]


def thinned(
    times_s: _Numbers, columns: Sequence[_Numbers], most: int = MOST_POINTS
) -> tuple[_Numbers, list[_Numbers]]:
    """Columns over time with at most so many points.

    >>> times, (column,) = thinned(np.arange(6.0), [np.array([1.0, 9, 2, 3, 0, 4])], most=4)
    >>> times, column
    (array([0., 1., 3., 4.]), array([1., 9., 0., 4.]))

    Args:
        times_s: (n,), rising.
        columns: (n,) each, NaN where unknown.
        most: how many points there may be.

    Returns:
        The times and the columns: as they were, or in the `most / 2` parts of the rows the least
        and then the most of each.
    """
    count = times_s.size
    if count <= most:
        return times_s, list(columns)
    starts = np.unique(np.linspace(0, count, most // 2, endpoint=False).astype(int))
    ends = np.append(starts[1:], count)
    middles = (starts + ends - 1) // 2
    middles = np.maximum(middles, np.minimum(starts + 1, ends - 1))
    times = np.stack([times_s[starts], times_s[middles]], axis=1).ravel()
    out = []
    for column in columns:
        # NaN is above nothing and below nothing; a part of nothing else is NaN.
        least = np.fmin.reduceat(column, starts)
        most_of = np.fmax.reduceat(column, starts)
        out.append(np.stack([least, most_of], axis=1).ravel())
    return times, out
