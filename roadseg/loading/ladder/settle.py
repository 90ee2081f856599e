"""Settles which rung a source gets: from times that are kept, or from new ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from roadseg.loading.ladder.kept import TimedOn, keep, read_kept
from roadseg.loading.ladder.load import CLOCKS, Clocks
from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.pick import Pick, pick_rung
from roadseg.loading.ladder.rungs import Rung
from roadseg.loading.ladder.timing import time_rungs

if TYPE_CHECKING:
    from roadseg.core.backend import Backend


def settle(
    rungs: tuple[Rung, ...],
    pace: Pace,
    machine: TimedOn,
    sha256: Mapping[str, str],
    open_rung: Callable[[Rung], Backend],
    *,
    clocks: Clocks = CLOCKS,
) -> Pick:
    """The rung for a source; what was measured for it is kept.

    Times that other programs disturbed count for this once. What was taken for such a source before
    holds unless times clearly say otherwise, see `HOLD`; what was taken while others disturbed
    holds only as long as they do.

    Args:
        rungs: at least one, the most accurate first.
        pace: what the source asks for.
        machine: what times depend on.
        sha256: of the weights, by model.
        open_rung: gives a rung's backend.
        clocks: what times are taken with.

    Raises:
        BackendError, EngineError, ModelError: a network cannot be opened, or fails.
    """
    if math.isinf(pace.network_ms):
        return pick_rung(rungs, {}, pace)
    kept = read_kept(machine)
    known_ms = kept.times_ms(rungs, pace.source_hw, sha256)
    timing = time_rungs(
        rungs,
        pace.network_ms,
        known_ms,
        open_rung,
        throughput=machine.throughput,
        clocks=clocks,
    )
    before = kept.before(rungs, pace, disturbed=timing.disturbed)
    pick = pick_rung(rungs, timing.times_ms, pace, before=before, disturbed=timing.disturbed)
    found_out = timing.times_ms != known_ms
    if found_out and not timing.disturbed:
        kept = kept.adding(timing.times_ms, pace.source_hw, sha256)
    if found_out or pick.rung != before:
        held = pick.rung == kept.before(rungs, pace)
        keep(kept.having_taken(pick.rung, pace, disturbed=timing.disturbed and not held))
    return pick
