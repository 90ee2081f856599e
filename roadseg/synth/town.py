"""What a street is made of: its cross-section and the things that stand along it.

Street coordinates: s metres along the street, t metres to the right of its middle.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from roadseg.synth.noise import Rng

CHUNK_M = 48.0
"""Length of a chunk."""

MIXES = (
    ("shop", "shop", "office", "shop", "terrace"),  # high street
    ("terrace", "terrace", "shop", "terrace"),
    ("house", "house", "terrace", "park"),
    ("office", "shop", "office", "park"),
    ("park", "house", "park", "terrace"),
)


@dataclass(frozen=True)
class Layout:
    """The street's cross-section, in metres.

    Attributes:
        half_width: middle to kerb.
        pavement: width of the left and the right pavement.
        lanes: 1 where traffic is one-way, else 2 (one each way), 4 on wide roads.
        parking: whether cars may stand at the left and the right kerb.
        ego_t: lateral place of the camera.
    """

    half_width: float
    pavement: tuple[float, float]
    lanes: int
    parking: tuple[bool, bool]
    ego_t: float
    mix: int
    yellow_lines: bool
    centre_line: int
    paving: int


@dataclass(frozen=True)
class Building:
    """A box along the street.

    Attributes:
        s0, s1: where it begins and ends.
        front_t: lateral place of its front (signed).
        style: which of the street's facades it wears.
    """

    s0: float
    s1: float
    front_t: float
    style: int
    kind: str
    floors: int


@dataclass(frozen=True)
class Item:
    """Anything else that stands: kind, place, direction and a number that varies its looks."""

    kind: str
    s: float
    t: float
    size: float = 1.0
    facing: float = 0.0
    variant: int = 0


@dataclass
class Chunk:
    """Everything between s and s + CHUNK_M."""

    index: int
    buildings: list[Building] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    side_streets: list[tuple[float, float, int]] = field(default_factory=list)
    gardens: list[tuple[float, float, float, float]] = field(default_factory=list)
    crossing_s: float | None = None


@dataclass(frozen=True)
class Town:
    """The character of a street, the same along its whole length.

    Attributes:
        tree_kind: what most of its trees are.
        tree_density, parking_density: shares of places taken; `crowd`: walkers, 1 is usual.
    """

    seed: int
    layout: Layout
    tree_kind: str
    tree_density: float
    parking_density: float
    crowd: float


def make_town(seed: int, rng: Rng) -> Town:
    """Draw a street's character."""
    return Town(
        seed,
        _layout(rng),
        ("leafy", "bare", "leafy", "slim", "bare")[int(rng.integers(5))],
        float(rng.choice([0.1, 0.25, 0.5, 0.9])),
        float(rng.uniform(0.25, 0.95)),
        float(rng.uniform(0.5, 2.6)),
    )


def _layout(rng: Rng) -> Layout:
    one_way = rng.random() < 0.2
    lanes = 1 if one_way else (4 if rng.random() < 0.07 else 2)
    parking = (bool(rng.random() < 0.45), bool(rng.random() < 0.45))
    lane = float(rng.uniform(2.75, 3.4))
    half = lane * max(lanes, 1.25) / 2 + 2.1 * (sum(parking) / 2 if lanes == 1 else max(parking))
    if lanes == 1:
        ego = (parking[0] - parking[1]) * 1.05
    else:
        ego = -lane * (0.5 if lanes == 2 else rng.choice([0.5, 1.5]))
        if parking[0] and lanes == 2:
            ego += 0.15
    return Layout(
        half_width=half,
        pavement=(float(rng.uniform(1.7, 4.2)), float(rng.uniform(1.7, 4.2))),
        lanes=lanes,
        parking=parking,
        ego_t=float(ego + rng.normal(0, 0.1)),
        mix=int(rng.integers(len(MIXES))),
        yellow_lines=bool(rng.random() < 0.55),
        centre_line=int(rng.integers(3)),
        paving=int(rng.integers(3)),
    )
