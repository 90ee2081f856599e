"""Whether the network sees every second frame of a file, where that is left open.

Labels that are carried to a frame from those around it cost far less than the network, and hardly
any accuracy (docs/speed.md, "Reuse between frames"). So a better rung on every second frame may
beat a lesser one on all, and the same rung takes half of the time.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from roadseg.loading.ladder.pick import Pick, pick_rung

EVERY = 2
"""Of so many frames the network sees one."""

LOSS = 0.006
"""mIoU, 0..1, that it costs: 0.001 to 0.006 on a town drive of 15 frames a second, 0.002 to 0.012
on rendered ones of 15 and 25, by network and input; docs/speed.md has the figures."""

_LEAST_RATE = 14.5
"""Frames a second that a source has at least: slower ones show more movement from one to the next
than was measured. NTSC's 14.985 are enough."""

_FASTER = 1.3
"""Where the network could see all frames, a run is to be so much faster to be worth `LOSS`."""


def may_carry(rate: Fraction | float | None) -> bool:
    """Whether frames of a source are near enough to each other; not where it says no rate."""
    return rate is not None and rate >= _LEAST_RATE


def or_all_frames(carried: Pick) -> Pick:
    """A rung on every so many frames, or, where that is no worse, the one that sees all.

    It is worse where none keeps up that sees all, where `carried` is more accurate in spite of
    `LOSS`, or where the whole run is faster by far with it. Nothing is timed again.

    Args:
        carried: what was taken, with times.
    """
    pace = replace(carried.pace, every=1)
    seeing_all = pick_rung(carried.rungs, carried.times_ms, pace, disturbed=carried.disturbed)
    if not seeing_all.keeps_up or carried.rung.miou - LOSS > seeing_all.rung.miou:
        return carried
    carried_ms, all_ms = _frame_ms(carried), _frame_ms(seeing_all)
    if carried_ms is not None and all_ms is not None and carried_ms * _FASTER <= all_ms:
        return carried
    return seeing_all


def _frame_ms(pick: Pick) -> float | None:
    return None if pick.network_ms is None else pick.pace.frame_ms(pick.network_ms)
