"""Times rungs on this machine, in little time and beside other load."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roadseg.loading.ladder.load import CLOCKS, Clocks
from roadseg.loading.ladder.pick import contenders
from roadseg.loading.ladder.rungs import Rung

if TYPE_CHECKING:
    from roadseg.core.backend import Backend

LIMIT_S = 2.7
"""How long all of it may take: three seconds, less what a last frame beside other load takes."""

_ROUNDS = 7

# As many tell about how fast the other rungs are, also where one of them was disturbed.
_FIRST_ROUNDS = 3

# A network is opened only where this share of the limit is enough for it; the rest is for rounds.
_OPENING = 0.75

# Undisturbed, threads hardly wait for the processor, and the median of a rung's rounds is hardly
# above the quickest.
_WAITED = 0.15
_SPREAD = 1.4


@dataclass(frozen=True)
class Timing:
    """Times of rungs.

    Attributes:
        times_ms: median of one frame, by rung, as it is on a free machine.
        disturbed: other programs had the processor meanwhile, so that times were reckoned rather
            than measured.
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
    clocks: Clocks = CLOCKS,
) -> Timing:
    """Time the rungs that decide, and no others.

    A first time says about how fast the others are; then those are compiled that might be the
    best to keep up. At the end they take turns, round after round, so that other load meets all of
    them, and the median of each counts. Time for which others had the processor is taken off: what
    a machine can do is to be known, whatever else it does at the moment.

    Args:
        rungs: at least one, the most accurate first.
        allowed_ms: what the network may take.
        known_ms: times from before.
        open_rung: gives a rung's backend, which is closed again.
        limit_s: how long it may take. The first rung is timed whatever it takes.
        clocks: what times are taken with.

    Returns:
        What is known, and what was found out.

    Raises:
        BackendError, EngineError, ModelError: a network cannot be opened, or fails.
    """
    clock = clocks.wall
    started_s = clock()
    rounds_ms: dict[Rung, list[float]] = {}
    opening_s = wall_s = waiting_s = 0.0
    with ExitStack() as stack:
        backends: dict[Rung, Backend] = {}
        noise: dict[Rung, npt.NDArray[np.uint8]] = {}

        def one_frame(rung: Rung) -> None:
            nonlocal wall_s, waiting_s
            # A dense network takes as long for noise as for a street.
            start = clocks.now()
            backends[rung].infer(noise[rung])
            span = clocks.since(start)
            rounds_ms[rung].append(span.free_s * 1e3)
            wall_s += span.wall_s
            waiting_s += span.waited_s

        while True:
            times_ms = {**known_ms, **_medians(rounds_ms)}
            wanted = contenders(rungs, times_ms, allowed_ms)
            rung = next((each for each in wanted if each not in times_ms), None)
            begun_s = clock()
            if rung is None:
                break
            if backends and begun_s + opening_s > started_s + limit_s * _OPENING:
                break
            backends[rung] = open_rung(rung)
            stack.callback(backends[rung].close)
            shape = (1, *backends[rung].network_hw, 3)
            noise[rung] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            backends[rung].infer(noise[rung])  # the first one allocates, and does not count
            rounds_ms[rung] = []
            for _ in range(_FIRST_ROUNDS):
                one_frame(rung)
            opening_s = clock() - begun_s
        for _ in range(_ROUNDS):
            for rung in backends:
                frame_s = wall_s / sum(map(len, rounds_ms.values()))
                if clock() + frame_s <= started_s + limit_s:
                    one_frame(rung)
    spread = any(statistics.median(ms) > _SPREAD * min(ms) for ms in rounds_ms.values())
    disturbed = spread or waiting_s > _WAITED * wall_s
    return Timing({**known_ms, **_medians(rounds_ms)}, disturbed)


def _medians(rounds_ms: Mapping[Rung, list[float]]) -> dict[Rung, float]:
    return {rung: round(statistics.median(ms), 2) for rung, ms in rounds_ms.items()}
