"""What event rules are made of: measures, conditions, and how they are joined."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
_OPPOSITE = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}
_MOST_TERMS = 512


@dataclass(frozen=True)
class Measure:
    """A number that is read from each frame.

    Attributes:
        kind: `share` (0 to 1), `count` (connected parts), `m` or `px` (distance to the nearest).
        what: the class or group.
        region: where; a name.
    """

    kind: str
    what: str
    region: str


Readings: TypeAlias = Mapping[Measure, float]
"""What was read from one frame; NaN where nothing could be read, inf where nothing is there."""


@dataclass(frozen=True)
class Condition:
    """A measure compared with a number; nothing holds for NaN."""

    measure: Measure
    sign: str
    limit: float

    def holds(self, readings: Readings) -> bool:
        """Whether it does in a frame."""
        return _COMPARE[self.sign](readings[self.measure], self.limit)

    def conditions(self) -> Iterator[Condition]:
        """Itself."""
        yield self


@dataclass(frozen=True)
class Not:
    """True where what is inside does not hold."""

    inside: Expression

    def holds(self, readings: Readings) -> bool:
        """Whether it does in a frame."""
        return not self.inside.holds(readings)

    def conditions(self) -> Iterator[Condition]:
        """Those inside, as written."""
        return self.inside.conditions()


@dataclass(frozen=True)
class Joined:
    """Several joined by `and` or by `or`."""

    word: str
    parts: tuple[Expression, ...]

    def holds(self, readings: Readings) -> bool:
        """Whether it does in a frame."""
        each = (part.holds(readings) for part in self.parts)
        return all(each) if self.word == "and" else any(each)

    def conditions(self) -> Iterator[Condition]:
        """Those inside, from left to right."""
        for part in self.parts:
            yield from part.conditions()


Expression: TypeAlias = "Condition | Not | Joined"


@dataclass(frozen=True)
class Rule:
    """An event rule, read by `roadseg.road.events.grammar.parse_rule`.

    Attributes:
        name: of the event.
        when: what must hold.
        for_s: for how long without a break before an event begins, in seconds.
        hold_off_s: for how long it must not hold before the event ends, in seconds.
        text: as written.
    """

    name: str
    when: Expression
    for_s: float
    hold_off_s: float
    text: str

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What must be read from a frame, each once, in the order of the rule."""
        return tuple(dict.fromkeys(c.measure for c in self.when.conditions()))


@dataclass(frozen=True)
class _Range:
    """What a measure may be; the ends belong to it unless open."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False
    whole: bool = False

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


def can_hold(expression: Expression) -> bool:
    """Whether there is a frame in which an expression holds, as far as its numbers tell.

    Shares are 0 to 1, counts 0, 1, 2, ..., distances 0 or more. Expressions that are too large to
    be looked through count as possible.
    """
    terms = _terms(expression, negated=False)
    return terms is None or bool(terms)


def _terms(expression: Expression, negated: bool) -> list[_Term] | None:
    """The ways in which it can hold; None if there are too many to tell."""
    if isinstance(expression, Condition):
        measure, sign = expression.measure, expression.sign
        high = 1.0 if measure.kind == "share" else math.inf
        whole = _Range(0.0, high, whole=measure.kind == "count")
        left = whole.also(_OPPOSITE[sign] if negated else sign, expression.limit)
        return [] if left is None else [{measure: left}]
    if isinstance(expression, Not):
        return _terms(expression.inside, not negated)
    parts = [_terms(part, negated) for part in expression.parts]
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
