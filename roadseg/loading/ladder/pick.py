"""The rung to take, from times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.rungs import Rung

HOLD = 1.1
"""A rung that was taken before is left only for a time that is so much on the other side of the
limit: times differ by less from one measurement to the next."""

# A rung that is expected to be so much slower than allowed is not worth the time to measure it.
_HOPE = 1.25


@dataclass(frozen=True)
class Pick:
    """The rung that was taken.

    Attributes:
        rung: the rung.
        pace: what the source asks for.
        rungs: those that there were, the most accurate first.
        times_ms: of those that were timed.
        keeps_up: whether it keeps up with the source; else it is the fastest.
        disturbed: other programs had the processor while it was timed.
        steps_down: how often a run that fell behind went on with a faster rung.
    """

    rung: Rung
    pace: Pace
    rungs: tuple[Rung, ...]
    times_ms: Mapping[Rung, float]
    keeps_up: bool
    disturbed: bool = False
    steps_down: int = 0

    @property
    def network_ms(self) -> float | None:
        """What the network takes; None where no time was needed or could be had."""
        return expected_ms(self.rung, self.times_ms)

    def reason(self) -> str:
        """Why it was taken, for people."""
        pace = self.pace
        if pace.per_second == 0:
            return "the most accurate, since pictures need not be kept up with"
        took_ms = self.network_ms
        if took_ms is None:
            return "not timed"
        left = f"{took_ms:.0f} ms of the {max(pace.network_ms, 0):.0f} that the network has"
        if self.disturbed:
            left += ", as far as other programs let it be timed; the next run tries again"
        if not self.keeps_up:
            return f"the fastest; it does not keep up with {pace} here ({left})"
        most = " most accurate that" if len(self.rungs) > 1 else " only one, and it"
        return f"the{most} keeps up with {pace} here ({left})"

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`; times are None where none was needed."""
        pace, took_ms = self.pace, self.network_ms
        hurry = pace.per_second > 0
        return {
            "model": self.rung.model,
            "size_hw": list(self.rung.network_hw(pace.source_hw)),
            "miou": self.rung.miou,
            "keeps_up": self.keeps_up,
            "rate": pace.per_second if hurry else None,
            "rate_assumed": pace.rate is None,
            "network_ms": None if took_ms is None else round(took_ms, 2),
            "allowed_ms": round(pace.network_ms, 2) if hurry else None,
            "disturbed": self.disturbed,
            "steps_down": self.steps_down,
        }

    def stepped_down(self) -> Pick | None:
        """One rung down, for a run that falls behind; None: there is none."""
        rung = self.below()
        if rung is None:
            return None
        return replace(self, rung=rung, keeps_up=False, steps_down=self.steps_down + 1)

    def below(self) -> Rung | None:
        """The most accurate rung that is faster than this one; None: there is none."""
        own_ms = _known_or_cost(self.rung, self.times_ms)
        position = self.rungs.index(self.rung)
        for rung in self.rungs[position + 1 :]:
            other_ms = _known_or_cost(rung, self.times_ms)
            if own_ms is None or other_ms is None or other_ms * HOLD <= own_ms:
                return rung
        return None


def expected_ms(rung: Rung, times_ms: Mapping[Rung, float]) -> float | None:
    """What a rung takes: as measured, or reckoned from the one of the nearest cost.

    None where there is nothing to reckon from.
    """
    if rung in times_ms:
        return times_ms[rung]
    if rung.cost_ms is None:
        return None
    likened: tuple[float, float] | None = None
    for other, took_ms in times_ms.items():
        if other.cost_ms is None:
            continue
        ratio = rung.cost_ms / other.cost_ms
        away = max(ratio, 1 / ratio)
        if likened is None or away < likened[0]:
            likened = (away, took_ms * ratio)
    return None if likened is None else likened[1]


def contenders(
    rungs: Sequence[Rung], times_ms: Mapping[Rung, float], allowed_ms: float
) -> tuple[Rung, ...]:
    """The rungs whose times decide: the best that is expected to keep up, and what lies around it.

    The one above comes along if it might keep up, too. Where nothing is known it is one from the
    middle, from which the others can be reckoned; the first where they cannot.

    Args:
        rungs: the most accurate first.
        times_ms: what is known.
        allowed_ms: what the network may take.
    """
    if not times_ms and all(rung.cost_ms is not None for rung in rungs):
        return (rungs[len(rungs) // 2],)
    above: Rung | None = None
    for rung in rungs:
        took_ms = expected_ms(rung, times_ms)
        if took_ms is None:
            return (rung,)
        if took_ms <= allowed_ms:
            return (rung,) if above is None else (rung, above)
        above = rung if took_ms <= _HOPE * allowed_ms else None
    return (_fastest(rungs, times_ms),)


def pick_rung(
    rungs: Sequence[Rung],
    times_ms: Mapping[Rung, float],
    pace: Pace,
    *,
    before: Rung | None = None,
    disturbed: bool = False,
) -> Pick:
    """The most accurate rung that keeps up, or the fastest.

    Args:
        rungs: at least one, the most accurate first.
        times_ms: of some of them; the others are reckoned.
        pace: what the source asks for.
        before: what was taken for such a source before.
        disturbed: other programs had the processor while it was timed.
    """
    allowed_ms = pace.network_ms
    known = before if before in rungs else None
    climbing = known is not None
    for rung in rungs:
        if rung == known:
            climbing = False
        took_ms = expected_ms(rung, times_ms)
        if pace.per_second == 0:
            took_ms = 0.0
        if took_ms is None:
            continue
        limit_ms = allowed_ms / HOLD if climbing else allowed_ms
        if rung == known:
            limit_ms = allowed_ms * HOLD
        if took_ms <= limit_ms:
            return Pick(rung, pace, tuple(rungs), times_ms, True, disturbed)
    return Pick(_fastest(rungs, times_ms), pace, tuple(rungs), times_ms, False, disturbed)


def _fastest(rungs: Sequence[Rung], times_ms: Mapping[Rung, float]) -> Rung:
    def key(rung: Rung) -> tuple[float, float]:
        took_ms = _known_or_cost(rung, times_ms)
        return (float("inf") if took_ms is None else took_ms, rung.pixels)

    return min(rungs, key=key)


def _known_or_cost(rung: Rung, times_ms: Mapping[Rung, float]) -> float | None:
    took_ms = expected_ms(rung, times_ms)
    return rung.cost_ms if took_ms is None else took_ms
