"""Times rungs on this machine, in little time and beside other load."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roadseg.core.backend import PipelinedBackend
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

# Of several frames in flight so many are timed together: whole turns of all that are at work at
# once, which are two, or four.
_TOGETHER = 4

# Undisturbed, threads hardly wait for the processor, and the median of a rung's rounds is hardly
# above the quickest.
_WAITED = 0.15
_SPREAD = 1.4


@dataclass(frozen=True)
class Timing:
    """Times of rungs.

    Attributes:
        times_ms: median of one frame, by rung, as it is on a free machine; of several in flight,
            the time from one to the next.
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
    throughput: bool = False,
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
        throughput: keep as many frames in flight as the backend takes.
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

        @stack.callback
        def close_but(kept: Sequence[Rung] = ()) -> None:
            for rung in backends.keys() - set(kept):
                backends.pop(rung).close()

        noise: dict[Rung, npt.NDArray[np.uint8]] = {}

        def one_round(rung: Rung) -> None:
            nonlocal wall_s, waiting_s
            # A dense network takes as long for noise as for a street.
            start = clocks.now()
            frames = _run(backends[rung], noise[rung], throughput=throughput)
            span = clocks.since(start)
            rounds_ms[rung].append(span.free_s * 1e3 / frames)
            wall_s += span.wall_s
            waiting_s += span.waited_s

        while True:
            times_ms = {**known_ms, **_medians(rounds_ms)}
            wanted = contenders(rungs, times_ms, allowed_ms)
            rung = next((each for each in wanted if each not in times_ms), None)
            begun_s = clock()
            close_but(wanted)  # the others have said what they could; memory is needed
            if rung is None:
                break
            if rounds_ms and begun_s + opening_s > started_s + limit_s * _OPENING:
                break
            backends[rung] = open_rung(rung)
            shape = (1, *backends[rung].network_hw, 3)
            noise[rung] = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
            # The first one allocates, and does not count.
            _run(backends[rung], noise[rung], throughput=throughput)
            rounds_ms[rung] = []
            for _ in range(_FIRST_ROUNDS):
                one_round(rung)
            opening_s = clock() - begun_s
        for _ in range(_ROUNDS):
            for rung in backends:
                round_s = wall_s / sum(map(len, rounds_ms.values()))
                if clock() + round_s <= started_s + limit_s:
                    one_round(rung)
    spread = any(statistics.median(ms) > _SPREAD * min(ms) for ms in rounds_ms.values())
    disturbed = spread or waiting_s > _WAITED * wall_s
    return Timing({**known_ms, **_medians(rounds_ms)}, disturbed)


def _run(backend: Backend, frame_bgr: npt.NDArray[np.uint8], *, throughput: bool) -> int:
    """Run one frame, or several in flight; how many."""
    if not throughput or not isinstance(backend, PipelinedBackend):
        backend.infer(frame_bgr)
        return 1
    for number in range(_TOGETHER):
        if number >= backend.depth:
            backend.collect()
        backend.submit(frame_bgr)
    for _ in range(min(_TOGETHER, backend.depth)):
        backend.collect()
    return _TOGETHER


def _medians(rounds_ms: Mapping[Rung, list[float]]) -> dict[Rung, float]:
    return {rung: round(statistics.median(ms), 2) for rung, ms in rounds_ms.items()}
