"""Times rungs on this machine, in little time and beside other load."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from roadseg.loading.ladder.load import waited_s
from roadseg.loading.ladder.pick import contenders
from roadseg.loading.ladder.rungs import Rung

if TYPE_CHECKING:
    from roadseg.core.backend import Backend

__all__ = ["LIMIT_S", "Timing", "time_rungs"]

LIMIT_S = 3.0
"""How long all of it may take."""

_ROUNDS = 7

# As many tell about how fast the other rungs are, also where one of them was disturbed.
_FIRST_ROUNDS = 3

# Compiling is begun only where this share of the limit is enough for it; the rest is for rounds.
_COMPILING = 0.75

# Undisturbed, threads hardly wait for the processor, and the median of a rung's rounds is hardly
# above the quickest.
_WAITED = 0.15
_SPREAD = 1.4


@dataclass(frozen=True)
class Timing:
    """Times of rungs.

    Attributes:
        times_ms: median of one frame, by rung.
        disturbed: other programs had the processor meanwhile, so that another time would come out
            differently.
    """

    times_ms: Mapping[Rung, float]
    disturbed: bool = False


def time_rungs(
    rungs: Sequence[Rung],
    allowed_ms: float,
    known_ms: Mapping[Rung, float],
    open_rung: Callable[[Rung], Backend],
    *,
    limit_s: float = LIMIT_S,
    clock: Callable[[], float] = time.perf_counter,
    waited: Callable[[], float | None] = waited_s,
) -> Timing:
    """Time the rungs that decide, and no others.

    A first time says about how fast the others are; then those are compiled that might be the
    best to keep up. At the end they take turns, round after round, so that other load meets all of
    them, and the median of each counts.

    Args:
        rungs: at least one, the most accurate first.
        allowed_ms: what the network may take.
        known_ms: times from before.
        open_rung: gives a rung's backend, which is closed again.
        limit_s: how long it may take. The first rung is timed whatever it takes.
        clock: seconds.
        waited: see `waited_s`.

    Returns:
        What is known, and what was found out.

    Raises:
        BackendError, EngineError, ModelError: a network cannot be opened, or fails.
    """
    started_s = clock()
    rounds_ms: dict[Rung, list[float]] = {}
    compiling_s = 0.0
    with ExitStack() as stack:
        backends: dict[Rung, Backend] = {}

        def one_frame(rung: Rung) -> None:
            backend = backends[rung]
            # A dense network takes as long for noise as for a street.
            begun_s = clock()
            backend.infer(noise[rung])
            rounds_ms[rung].append((clock() - begun_s) * 1e3)

        noise = {}
        while True:
            times_ms = {**known_ms, **_medians(rounds_ms)}
            wanted = contenders(rungs, times_ms, allowed_ms)
            rung = next((each for each in wanted if each not in times_ms), None)
            begun_s = clock()
            due_s = started_s + limit_s * _COMPILING
            if rung is None or (backends and begun_s + compiling_s > due_s):
                break
            backends[rung] = open_rung(rung)
            stack.callback(backends[rung].close)
            shape = (1, *backends[rung].network_hw, 3)
            noise[rung] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            rounds_ms[rung] = []
            one_frame(rung)  # the first one allocates, and does not count
            compiling_s = clock() - begun_s
            rounds_ms[rung].clear()
            for _ in range(_FIRST_ROUNDS):
                one_frame(rung)
        rounds_since_s, waited_before_s = clock(), waited()
        for _ in range(_ROUNDS):
            for rung in backends:
                expected_s = statistics.median(rounds_ms[rung]) / 1e3
                if clock() + expected_s <= started_s + limit_s:
                    one_frame(rung)
        waited_after_s = waited()
    spread = any(statistics.median(ms) > _SPREAD * min(ms) for ms in rounds_ms.values())
    kept_waiting = False
    if waited_before_s is not None and waited_after_s is not None:
        share = _WAITED * (clock() - rounds_since_s)
        kept_waiting = waited_after_s - waited_before_s > share
    return Timing({**known_ms, **_medians(rounds_ms)}, spread or kept_waiting)


def _medians(rounds_ms: Mapping[Rung, list[float]]) -> dict[Rung, float]:
    return {rung: round(statistics.median(ms), 2) for rung, ms in rounds_ms.items()}
