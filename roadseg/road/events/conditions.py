"""What event rules are made of: measures, conditions, and how they are joined."""

from __future__ import annotations

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
