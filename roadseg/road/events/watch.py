"""Watches for events: label maps in, starts and ends out."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from roadseg.core.errors import UsageError
from roadseg.core.types import Labels
from roadseg.road.areas import Area, IgnoreMask, counted
from roadseg.road.corridor import Corridor
from roadseg.road.events.conditions import Condition, Expression, Not, Readings, Rule
from roadseg.road.events.grammar import parse_rule
from roadseg.road.events.readings import read_measures
from roadseg.road.flat_road import FlatRoad
from roadseg.road.vocabulary import Vocabulary

_ANY_HW = (480, 640)
_A_ROW = 0.01  # of the height: where a region begins depends a little on a label map's rows


@dataclass(eq=False)
class Event:
    """Something that a rule saw; it goes on changing until it ends.

    Attributes:
        rule: that saw it; `rule.name` is the event's.
        start_s: time of the first frame in which the rule held.
        seen_s: time of the frame in which it had held for long enough; `start_s` without `for`.
        end_s: time of the last frame in which it held; None while the event goes on.
        peak_s: time of the most extreme frame.
        peak: what the rule's first condition that is not negated read there, in its own unit
            (percent, parts, metres or pixels): the largest for `>`, the smallest for `<`. None in
            a rule of nothing but negated conditions.
        unit: `%`, `m`, `px`, or empty for a count.
    """

    rule: Rule
    start_s: float
    seen_s: float
    end_s: float | None
    peak_s: float
    peak: float | None
    unit: str


@dataclass
class _State:
    """Of one rule.

    Attributes:
        leading: the condition that peaks are of.
        open: holds now or did a moment ago; an event once it held for long enough.
        is_event: whether it did.
        last_s: when the rule held last.
    """

    rule: Rule
    leading: Condition | None
    open: Event | None = None
    is_event: bool = False
    last_s: float = field(default=-math.inf)


class EventWatch:
    """Watches label maps for the events of some rules.

    >>> watch = EventWatch(["stop: car > 20% for 1s"], Vocabulary())
    >>> near, far = np.array([[8, 3]], np.uint8), np.array([[3, 3]], np.uint8)
    >>> for time_s, labels in [(0, far), (1, near), (2, near), (3, far)]:
    ...     for event in watch.update(time_s, labels):
    ...         print(event.rule.name, event.start_s, event.end_s, event.peak)
    stop 1 None 50.0
    stop 1 2 50.0

    Args:
        rules: as text; see `roadseg.road.events.grammar`.
        words: what the ids of the label maps mean.
        regions: areas that rules may name, beside `frame`; an area of the name `corridor` takes
            the place of the default corridor.
        ignore: what does not count.
        camera: for distances in metres, and for the default corridor.
        check_metres: refuse rules about what is nearer than the camera sees; False where the
            camera is not known yet.

    Attributes:
        rules: as read, in order.

    Raises:
        UsageError: a rule is wrong (see `parse_rule`), two have one name, or a region is called
            `frame`.
    """

    def __init__(
        self,
        rules: Iterable[str],
        words: Vocabulary,
        regions: Sequence[Area] = (),
        ignore: IgnoreMask | None = None,
        camera: FlatRoad | None = None,
        *,
        check_metres: bool = True,
    ) -> None:
        self._words, self._ignore, self._camera = words, ignore, camera
        self._regions: dict[str, Area] = {"corridor": Corridor.ahead(camera)}
        for area in regions:
            if area.name == "frame":
                raise UsageError(
                    "a region cannot be called frame, which is all of the picture", fix="rename it"
                )
            self._regions[area.name] = area
        nearest_m = self._nearest_m() if check_metres else {}
        self.rules = tuple(parse_rule(text, words, self._regions, nearest_m) for text in rules)
        for position, rule in enumerate(self.rules):
            if any(rule.name == other.name for other in self.rules[:position]):
                raise UsageError(f"two events are called {rule.name!r}", fix="rename one of them")
        self._states = [_State(rule, _leading(rule.when)) for rule in self.rules]
        self._measures = tuple(dict.fromkeys(m for rule in self.rules for m in rule.measures))
        self._size_hw: tuple[int, int] | None = None
        self._time_s = -math.inf

    def update(self, time_s: float, labels: Labels) -> list[Event]:
        """The next frame.

        Args:
            time_s: its time. Where it goes backwards, as a clip that begins anew, all events end.
            labels: (h, w) uint8 class ids.

        Returns:
            The events that began with this frame (`end_s` is None) or ended. An event that began
            is the same object when it ends.

        Raises:
            ValueError: not (h, w) uint8 labels.
            UsageError: the ignore mask leaves nothing of a region.
        """
        changes = self.finish() if time_s < self._time_s else []
        self._time_s = time_s
        self._check(labels)
        readings = read_measures(
            self._measures, labels, self._words, self._regions, self._ignore, self._camera
        )
        for state in self._states:
            changes += self._step(state, time_s, readings)
        return changes

    def finish(self) -> list[Event]:
        """The events that still go on: they end where they held last."""
        self._time_s = -math.inf
        return [event for state in self._states for event in _end(state)]

    def held(self) -> list[tuple[Event, float]]:
        """The rules that hold, or held a moment ago: events that go on, and what will be one when
        it has lasted for long enough.

        Returns:
            Each as it is now (`update` goes on changing it), with the time at which its rule held
            last.
        """
        return [(state.open, state.last_s) for state in self._states if state.open is not None]

    def _step(self, state: _State, time_s: float, readings: Readings) -> list[Event]:
        rule = state.rule
        changes: list[Event] = []
        if not rule.when.holds(readings):
            # Until an event has begun, the rule must hold without a break.
            quiet_s = time_s - state.last_s
            if state.open and (not state.is_event or quiet_s >= rule.hold_off_s - 1e-9):
                changes = _end(state)
            return changes
        peak, unit = _reading(state.leading, readings)
        event = state.open
        if event is None:
            event = state.open = Event(rule, time_s, time_s, None, time_s, peak, unit)
        state.last_s = time_s
        if peak is not None and _is_beyond(state.leading, peak, event.peak):
            event.peak_s, event.peak = time_s, peak
        if not state.is_event and time_s - event.start_s >= rule.for_s - 1e-9:
            state.is_event = True
            event.seen_s = time_s
            changes.append(event)
        return changes

    def _nearest_m(self) -> dict[str, float]:
        """Metres to the nearest place of each region that may count, in label maps of any size."""
        camera = self._camera or FlatRoad()
        nearest_m = {}
        for region in ("frame", *self._regions):
            mask = counted(self._regions.get(region), self._ignore, _ANY_HW)
            edge = 1.0
            if mask is not None and mask.any():
                edge = (np.flatnonzero(mask.any(axis=1))[-1] + 1) / _ANY_HW[0] + _A_ROW
            nearest_m[region] = float(camera.distance_m(np.array(min(edge, 1.0)), 1))
        return nearest_m

    def _check(self, labels: Labels) -> None:
        """Refuse, once for each size, a region of which nothing counts."""
        size_hw = (labels.shape[0], labels.shape[1])
        if size_hw == self._size_hw or self._ignore is None:
            return
        for region in dict.fromkeys(measure.region for measure in self._measures):
            mask = counted(self._regions.get(region), self._ignore, size_hw)
            if mask is not None and not mask.any():
                raise UsageError(f"the ignore mask leaves nothing of {region}", fix="ignore less")
        self._size_hw = size_hw


def _end(state: _State) -> list[Event]:
    event, was_event = state.open, state.is_event
    state.open, state.is_event = None, False
    if event is None or not was_event:
        return []
    event.end_s = state.last_s
    return [event]


def _leading(expression: Expression) -> Condition | None:
    """The first condition that is not negated."""
    if isinstance(expression, Condition):
        return expression
    if isinstance(expression, Not):
        return None
    return next(filter(None, map(_leading, expression.parts)), None)


def _reading(condition: Condition | None, readings: Readings) -> tuple[float | None, str]:
    if condition is None:
        return None, ""
    value, kind = readings[condition.measure], condition.measure.kind
    if kind == "share":
        return value * 100, "%"
    return value, "" if kind == "count" else kind


def _is_beyond(condition: Condition | None, value: float, peak: float | None) -> bool:
    if condition is None or peak is None:
        return False
    return value > peak if condition.sign[0] == ">" else value < peak
