"""Whether a rule can ever hold: what its numbers say, whatever the pictures show.

Looked at are, in each way in which a rule may hold, the range of each measure, and shares of one
region together, which sum to 1 over the classes: `people > 50% and road > 60%` can never be.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from roadseg.road.events.conditions import Condition, Expression, Measure, Not
from roadseg.road.vocabulary import Vocabulary

_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_MOST_TERMS = 512
_MOST_ROUNDS = 20
_ROUNDING = 1e-9


def can_hold(
    expression: Expression, words: Vocabulary, nearest_m: Mapping[str, float] | None = None
) -> bool:
    """Whether there is a frame in which an expression holds, as far as its numbers tell.

    Shares are 0 to 1, and those of a region sum to 1 over its classes; counts are 0, 1, 2, ...,
    distances 0 or more. Expressions that are too large to be looked through count as possible.

    >>> share = Measure("share", "car", "frame"), Measure("share", "vehicles", "frame")
    >>> can_hold(Condition(share[0], ">", 0.5), Vocabulary())
    True

    Args:
        expression: of measures.
        words: what they are of.
        nearest_m: metres to the nearest place of each region that has one; 0 without.
    """
    terms = _terms(expression, nearest_m or {}, negated=False)
    return terms is None or any(_shares_fit(term, words) for term in terms)


@dataclass(frozen=True)
class _Range:
    """What a measure may be; the ends belong to it unless open."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    whole: bool = False

    @property
    def above_0(self) -> bool:
        """Whether all of it is."""
        return self.low > 0 or self.low_open

    def also(self, sign: str, limit: float) -> _Range | None:
        """What is left of it under one more condition; None if nothing."""
        low, low_open, high, high_open = self.low, self.low_open, self.high, self.high_open
        is_open = sign in "><"
        if sign[0] == ">" and (limit, is_open) > (low, low_open):
            low, low_open = limit, is_open
        if sign[0] == "<" and (-limit, is_open) > (-high, high_open):
            high, high_open = limit, is_open
        least, most = low, high
        if self.whole:
            least = math.floor(low) + 1 if low_open else math.ceil(low)
            if math.isfinite(high):
                most = math.ceil(high) - 1 if high_open else math.floor(high)
        elif low == high and (low_open or high_open):
            return None
        return None if least > most else _Range(low, high, low_open, high_open, self.whole)


_Term: TypeAlias = dict[Measure, _Range]


def _terms(
    expression: Expression, nearest_m: Mapping[str, float], *, negated: bool
) -> list[_Term] | None:
    """The ways in which it can hold; None if there are too many to tell."""
    if isinstance(expression, Condition):
        measure, sign = expression.measure, expression.sign
        high = 1.0 if measure.kind == "share" else math.inf
        low = nearest_m.get(measure.region, 0.0) if measure.kind == "m" else 0.0
        whole = _Range(low, high, whole=measure.kind == "count")
        left = whole.also(_OPPOSITE[sign] if negated else sign, expression.limit)
        return [] if left is None else [{measure: left}]
    if isinstance(expression, Not):
        return _terms(expression.inside, nearest_m, negated=not negated)
    parts = [_terms(part, nearest_m, negated=negated) for part in expression.parts]
    if (expression.word == "or") != negated:
        known = [part for part in parts if part is not None]
        return None if len(known) < len(parts) else [term for part in known for term in part]
    found: list[_Term] = [{}]
    for part in parts:
        if part is None or len(found) * len(part) > _MOST_TERMS:
            return None
        both = (_both(a, b) for a in found for b in part)
        found = [term for term in both if term is not None]
    return found


def _both(a: _Term, b: _Term) -> _Term | None:
    """Two ways at once; None if they exclude one another."""
    joined = dict(a)
    for measure, other in b.items():
        here: _Range | None = joined.get(measure, other)
        assert here is not None
        here = here.also(">" if other.low_open else ">=", other.low)
        if here is not None:
            here = here.also("<" if other.high_open else "<=", other.high)
        if here is None:
            return None
        joined[measure] = here
    return joined


_Number: TypeAlias = tuple[float, int]
"""A number and how many trifles are beyond it: (0.5, 1) is the least above 0.5."""


def _shares_fit(term: _Term, words: Vocabulary) -> bool:
    """Whether the shares of each region can be what a term wants, all at once."""
    sums: dict[str, list[tuple[frozenset[int], _Number, _Number]]] = {}
    for measure, wanted in term.items():
        low, high = (0.0, 0), (1.0, 0)
        if measure.kind == "share":
            low, high = (wanted.low, int(wanted.low_open)), (wanted.high, -int(wanted.high_open))
        elif wanted.high < math.inf if measure.kind != "count" else wanted.above_0:
            low = (0.0, 1)  # what is counted, or so far ahead, has a share
        ids = frozenset(words.ids(measure.what))
        sums.setdefault(measure.region, []).append((ids, low, high))
    everything = frozenset(range(words.classes.num_classes))
    whole = (everything, (1.0, 0), (1.0, 0))
    return all(_sums_fit([whole, *each]) for each in sums.values())


def _sums_fit(sums: Sequence[tuple[frozenset[int], _Number, _Number]]) -> bool:
    """Whether numbers of 0 to 1, one for each id of the first sum, can have these sums.

    Bounds are narrowed until nothing changes: what is refused cannot be.
    """
    # Ids that are in the same sums are one: only their sum matters.
    kinds = {tuple(i in ids for ids, *_ in sums) for i in sums[0][0]}
    low = dict.fromkeys(kinds, (0.0, 0))
    high = dict.fromkeys(kinds, (1.0, 0))
    for _ in range(_MOST_ROUNDS):
        before = (dict(low), dict(high))
        for position, (_, least, most) in enumerate(sums):
            parts = [kind for kind in kinds if kind[position]]
            for kind in parts:
                others = [each for each in parts if each != kind]
                at_most = _less(most, (low[each] for each in others))
                at_least = _less(least, (high[each] for each in others))
                high[kind] = at_most if _is_above(high[kind], at_most) else high[kind]
                low[kind] = at_least if _is_above(at_least, low[kind]) else low[kind]
                if _is_above(low[kind], high[kind]):
                    return False
        if (low, high) == before:
            break
    return True


def _less(number: _Number, others: Iterable[_Number]) -> _Number:
    value, trifles = number
    for other, more in others:
        value, trifles = value - other, trifles - more
    return value, trifles


def _is_above(a: _Number, b: _Number) -> bool:
    """Of numbers that are as good as the same, the trifles decide."""
    return a[1] > b[1] if abs(a[0] - b[0]) <= _ROUNDING else a[0] > b[0]
