"""Everything that moves, as a function of time: the camera itself, cars, cyclists, walkers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from roadseg.synth.noise import Rng, stream
from roadseg.synth.street import Street
from roadseg.synth.town import Item

_SIGHT_S = 14.0
"""How long before it is met a mover exists."""


@dataclass(frozen=True)
class Mover:
    """A moving thing at one moment.

    Attributes:
        kind: `car`, `person` or `cyclist`.
        s, t: its place in the street; `heading` relative to the street, radians.
        phase: of its step or pedals; `stride`: 0 standing, 1 walking.
        large: whether a car may be a bus.
    """

    kind: str
    s: float
    t: float
    heading: float
    variant: int
    phase: float = 0.0
    stride: float = 0.0
    size: float = 1.0
    braking: bool = False
    large: bool = False


class Traffic:
    """The movement of a drive; every question is answered from the time alone."""

    def __init__(self, seed: int, street: Street) -> None:
        self.seed = seed
        self.street = street
        rng = stream(seed, 12)
        self.speed = float(rng.uniform(5.5, 10.0))
        self.start = float(rng.uniform(0, 4000))
        self._phase = float(rng.uniform(0, 6))
        self.leader = rng.random() < 0.5
        self._gap = float(rng.uniform(9, 26))
        self._leader_variant = int(rng.integers(1 << 20))
        self._headway = float(rng.uniform(2.5, 8.0))
        self._cycle_headway = float(rng.uniform(3.0, 10.0))

    def ego_s(self, time_s: float) -> float:
        """How far along the street the camera is."""
        wobble = 1.2 * np.sin(time_s * 0.35 + self._phase)
        return float(self.start + self.speed * time_s + wobble)

    def movers(self, time_s: float) -> list[Mover]:
        """All that moves near the camera at a time."""
        layout = self.street.layout
        found: list[Mover] = []
        here = self.ego_s(time_s)
        if self.leader:
            wave = np.sin(time_s * 0.5 + self._phase)
            found.append(
                Mover(
                    "car",
                    here + self._gap * (1 + 0.2 * wave) + 3,
                    layout.ego_t + 0.1,
                    0.0,
                    self._leader_variant,
                    braking=bool(np.cos(time_s * 0.5 + self._phase) < -0.6),
                )
            )
            ahead = stream(self.seed, 13)
            next_s = here + self._gap + float(ahead.uniform(18, 40))
            variant = int(ahead.integers(1 << 20))
            found.append(Mover("car", next_s, layout.ego_t, 0.0, variant, large=True))
        if layout.lanes > 1:
            found += self._met(time_s, self._headway, 14, self._oncoming)
        found += self._met(time_s, self._cycle_headway, 15, self._cyclist)
        for chunk in self.street.chunks(here - 30, here + 130):
            for item in chunk.items:
                if item.kind in ("person", "crosser"):
                    found.append(self._walker(item, time_s, here))
        return found

    def _met(
        self, time_s: float, headway: float, key: int, make: Callable[[Rng, float, float], Mover]
    ) -> list[Mover]:
        # The k-th of a kind is level with the camera at about k * headway seconds.
        first = int(np.floor((time_s - 3) / headway))
        last = int(np.ceil((time_s + _SIGHT_S) / headway))
        found = []
        for k in range(first, last + 1):
            rng = stream(self.seed, key, k + 1_000_000)
            meet = (k + float(rng.uniform(0.1, 0.9))) * headway
            found.append(make(rng, meet, time_s))
        return found

    def _oncoming(self, rng: Rng, meet: float, time_s: float) -> Mover:
        layout = self.street.layout
        speed = self.speed * 0.95
        s = self.ego_s(meet) - speed * (time_s - meet)
        lane = (2 * layout.half_width - 2.1 * sum(layout.parking)) / layout.lanes
        t = -layout.ego_t if layout.lanes == 2 else lane * float(rng.choice([0.5, 1.4]))
        variant = int(rng.integers(1 << 20))
        place = t + float(rng.normal(0, 0.12))
        return Mover("car", s, place, np.pi, variant, large=True)

    def _cyclist(self, rng: Rng, meet: float, time_s: float) -> Mover:
        layout = self.street.layout
        variant = int(rng.integers(1 << 20))
        speed = float(rng.uniform(3.2, 4.6))
        left = rng.random() < 0.6 or layout.lanes == 1
        room = 2.1 * layout.parking[0 if left else 1] + float(rng.uniform(0.45, 0.8))
        phase = float(rng.uniform(0, 6)) + time_s * 6.5
        if left:
            s = self.ego_s(meet) + speed * (time_s - meet)
            t = max(-layout.half_width + room, -layout.half_width + 0.4)
            if abs(t - layout.ego_t) < 1.25:
                t = layout.ego_t - 1.35
            return Mover("cyclist", s, t, 0.0, variant, phase)
        s = self.ego_s(meet) - speed * (time_s - meet)
        return Mover("cyclist", s, layout.half_width - room, np.pi, variant, phase)

    def _walker(self, item: Item, time_s: float, here: float) -> Mover:
        # Time zero of a walker is when the camera passes the place, so that walkers keep near
        # where the street put them however long the drive lasts.
        since = (here - item.s) / self.speed
        if item.kind == "crosser":
            kerb = self.street.layout.half_width
            t = float(np.clip(item.t + item.facing * (since + 2.0), -kerb - 1.2, kerb + 1.2))
            moving = 1.0 if abs(t) < kerb + 1.2 else 0.0
            heading = np.pi / 2 * np.sign(item.facing)
            return Mover("person", item.s, t, heading, item.variant, time_s * 5.6, moving, 1.0)
        speed = item.facing
        s = item.s + speed * since
        moving = 0.0 if speed == 0 else 0.95
        heading = 0.0 if speed > 0 else np.pi
        if speed == 0:
            heading = float(item.variant % 63) / 10
        phase = time_s * 5.8 * (0.9 + (item.variant % 20) / 100) + item.variant % 7
        size = float(np.clip(item.size, 0.85, 1.12))
        return Mover("person", s, item.t, heading, item.variant, phase, moving, size)
