"""Fixes of a receiver, and the way that they describe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

_EARTH_M = 6_371_008.8
# A receiver that stands wanders by some metres.
_STILL_M = 5.0
# What is faster was not driven: the receiver has lost itself, or found itself again.
_MOST_M_PER_S = 100.0
# The same without times; receivers give a fix a second.
_MOST_STEP_M = 500.0


@dataclass(frozen=True, slots=True)
class Fix:
    """One place.

    Attributes:
        lat_deg, lon_deg: WGS 84, north and east are positive.
        time_s: by a clock that begins anywhere; None where it is not known.
    """

    lat_deg: float
    lon_deg: float
    time_s: float | None = None


def distance_m(fixes: Iterable[Fix]) -> float:
    """How long the way is, in metres. Standing adds nothing, and neither do jumps.

    >>> north = [Fix(48 + i / 10_000, 11, i) for i in range(101)]
    >>> round(distance_m(north))
    1112
    >>> round(distance_m([*north, Fix(0, 0, 101)]))
    1112
    """
    whole_m = 0.0
    last: Fix | None = None
    for fix in fixes:
        if last is None:
            last = fix
            continue
        step_m = _apart_m(last, fix)
        if step_m < _STILL_M:
            continue
        if not _is_jump(last, fix, step_m):
            whole_m += step_m
        last = fix
    return whole_m


def _is_jump(last: Fix, fix: Fix, step_m: float) -> bool:
    if last.time_s is None or fix.time_s is None:
        return step_m > _MOST_STEP_M
    return step_m > _MOST_M_PER_S * max(fix.time_s - last.time_s, 1.0)


def _apart_m(one: Fix, other: Fix) -> float:
    """Along a great circle, by the haversine formula."""
    lat1, lat2 = math.radians(one.lat_deg), math.radians(other.lat_deg)
    half_lat = (lat2 - lat1) / 2
    half_lon = math.radians(other.lon_deg - one.lon_deg) / 2
    h = math.sin(half_lat) ** 2 + math.cos(lat1) * math.cos(lat2) * math.sin(half_lon) ** 2
    return 2 * _EARTH_M * math.asin(min(math.sqrt(h), 1.0))
