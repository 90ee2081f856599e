"""Events: rules over label maps, such as `walker: pedestrian in corridor > 0.5% for 0.3s`."""

from __future__ import annotations

from roadseg.road.events.conditions import Condition, Measure, Rule
from roadseg.road.events.grammar import parse_rule
from roadseg.road.events.watch import Event, EventWatch

__all__ = ["Condition", "Event", "EventWatch", "Measure", "Rule", "parse_rule"]
