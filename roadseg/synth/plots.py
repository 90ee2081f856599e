"""Filling a stretch of street: plots with their buildings, fences, trees; lamps, signs, cars."""

from __future__ import annotations

import numpy as np

from roadseg.synth.noise import Rng, stream
from roadseg.synth.town import CHUNK_M, MIXES, Building, Chunk, Item, Town


def make_chunk(town: Town, index: int) -> Chunk:
    """Everything that stands between `index * CHUNK_M` and the next chunk."""
    rng = stream(town.seed, 2, index + 1_000_000)
    chunk = Chunk(index)
    start = index * CHUNK_M
    gaps = [0.0, 0.0]
    if rng.random() < 0.35:
        width = float(rng.uniform(6.0, 10.0))
        sides = ([0], [1], [0, 1])[int(rng.integers(3))]
        for side in sides:
            chunk.side_streets.append((start + 2.0, start + 2.0 + width, 2 * side - 1))
            gaps[side] = width + 4.5
        if rng.random() < 0.6:
            chunk.crossing_s = start + width + 6.0
    kinds = MIXES[town.layout.mix]
    for side in (0, 1):
        sign = 2 * side - 1
        zone = kinds[int(rng.integers(len(kinds)))]
        _fill(town, rng, chunk, zone, sign, start + gaps[side], start + CHUNK_M)
        _furnish(town, rng, chunk, zone, sign, start + gaps[side], start + CHUNK_M)
    if chunk.crossing_s is not None:
        _crossing(town, rng, chunk, chunk.crossing_s)
    return chunk


def _fill(town: Town, rng: Rng, chunk: Chunk, zone: str, sign: int, s0: float, s1: float) -> None:
    layout = town.layout
    edge = layout.half_width + layout.pavement[(sign + 1) // 2]
    if zone == "park":
        chunk.gardens.append((s0, s1, sign * edge, sign * (edge + 25.0)))
        kind = ("railing", "hedge", "wall", "railing")[int(rng.integers(4))]
        _fence(rng, chunk, kind, sign * (edge + 0.1), s0, s1)
        for _ in range(int(rng.integers(5, 11))):
            chunk.items.append(
                Item(
                    "tree",
                    float(rng.uniform(s0 + 1, s1 - 1)),
                    sign * (edge + float(rng.uniform(2.0, 16.0))),
                    float(rng.uniform(6.0, 12.0)),
                    variant=int(rng.integers(4)),
                )
            )
        for _ in range(int(rng.integers(2, 7))):
            s, depth = float(rng.uniform(s0, s1)), float(rng.uniform(1.2, 6.0))
            size = float(rng.uniform(1.5, 3.5))
            chunk.items.append(Item("bush", s, sign * (edge + depth), size))
        if rng.random() < 0.7:  # a house far behind the trees
            _row(rng, chunk, "house", sign * (edge + 20.0), s0 + 4, s1 - 4)
        return
    setback = 0.0
    if zone == "house":
        setback = float(rng.uniform(3.0, 6.0))
    elif zone == "terrace":
        setback = float(rng.choice([0.0, 1.6, 2.4]))
    if setback > 0:
        chunk.gardens.append((s0, s1, sign * edge, sign * (edge + setback)))
        kind = ("wall", "hedge", "planks", "railing", "wall")[int(rng.integers(5))]
        _fence(rng, chunk, kind, sign * (edge + 0.08), s0, s1)
        for _ in range(int(rng.integers(1, 5))):
            s = float(rng.uniform(s0 + 1, s1 - 1))
            depth = float(rng.uniform(0.8, max(0.9, setback - 0.5)))
            size = float(rng.uniform(0.9, 2.4))
            chunk.items.append(Item("bush", s, sign * (edge + depth), size))
        if setback > 3 and rng.random() < 0.7:
            s = float(rng.uniform(s0 + 3, s1 - 3))
            size = float(rng.uniform(5.0, 9.0))
            variant = int(rng.integers(4))
            chunk.items.append(Item("tree", s, sign * (edge + 1.8), size, variant=variant))
    _row(rng, chunk, zone, sign * (edge + setback), s0, s1)


def _row(rng: Rng, chunk: Chunk, zone: str, front_t: float, s0: float, s1: float) -> None:
    s = s0
    common = int(rng.integers(2, 4))
    terrace_style = int(rng.integers(5))
    while s < s1 - 3.5:
        width = float(
            rng.uniform(*{"office": (10, 20), "shop": (5, 9), "house": (7, 11)}.get(zone, (5, 7)))
        )
        end = min(s + width, s1)
        if s1 - end < 3.5:
            end = s1
        floors = {
            "office": int(rng.integers(3, 7)),
            "shop": int(rng.integers(2, 5)),
            "house": 2,
        }.get(zone, common)
        style = terrace_style if zone == "terrace" else int(rng.integers(5))
        chunk.buildings.append(Building(s, end, front_t, style, zone, floors))
        s = end
        if zone == "house":
            s += float(rng.uniform(1.5, 3.5))
        elif rng.random() < 0.08:
            s += float(rng.uniform(1.0, 3.0))


def _fence(rng: Rng, chunk: Chunk, kind: str, t: float, s0: float, s1: float) -> None:
    s = s0
    variant = int(rng.integers(3))
    height = {"railing": 1.3, "hedge": 1.5, "wall": 0.9, "planks": 1.7}[kind]
    height *= float(rng.uniform(0.8, 1.25))
    while s < s1 - 0.5:
        end = min(s + 4.0, s1)
        if rng.random() > 0.14:  # else a gate stands open
            chunk.items.append(Item(kind, s, t, height, facing=end - s, variant=variant))
        s = end


def _furnish(
    town: Town, rng: Rng, chunk: Chunk, zone: str, sign: int, s0: float, s1: float
) -> None:
    layout = town.layout
    side = (sign + 1) // 2
    kerb = layout.half_width
    walk = layout.pavement[side]
    near = sign * (kerb + 0.45)
    items = chunk.items
    if rng.random() < 0.8:
        items.append(
            Item("lamp", float(rng.uniform(s0 + 2, s1 - 2)), near, float(rng.uniform(6, 9)), sign)
        )
    if walk > 2.0 and zone != "park" and rng.random() < town.tree_density:
        gap = float(rng.uniform(9, 16))
        for s in np.arange(s0 + 5, s1 - 2, gap):
            size = float(rng.uniform(5.5, 9.0))
            variant = int(rng.integers(4))
            items.append(Item("tree", float(s), sign * (kerb + 0.8), size, variant=variant))
    for _ in range(int(rng.poisson(2.6))):
        s = float(rng.uniform(s0, s1))
        far = rng.random() < 0.35
        t = sign * (kerb + walk - 0.25) if far else near
        items.append(Item("sign", s, t, float(rng.uniform(2.0, 2.9)), 0, int(rng.integers(8))))
    if zone in ("shop", "office") and rng.random() < 0.4:
        s = float(rng.uniform(s0, s1 - 8))
        for k in range(int(rng.integers(3, 7))):
            items.append(Item("bollard", s + 1.6 * k, near, 1.0, variant=int(rng.integers(2))))
    if rng.random() < 0.3:
        s = float(rng.uniform(s0, s1 - 12))
        for k in range(int(rng.integers(2, 6))):
            items.append(Item("guard", s + 2 * k, near, 1.05, 2.0, 1))
    if zone in ("shop", "office") and rng.random() < 0.5:
        s = float(rng.uniform(s0, s1))
        items.append(Item("board", s, sign * (kerb + walk - 0.5), 1.1, 0, int(rng.integers(4))))
    if layout.parking[side]:
        s = s0 + 4.0
        while s < s1 - 4.5:
            if rng.random() < town.parking_density:
                t = sign * (kerb - 1.05 - float(rng.normal(0, 0.08)))
                facing = np.pi if (sign > 0 and layout.lanes > 1) else 0.0
                if rng.random() < 0.12:
                    facing = np.pi - facing
                facing += float(rng.normal(0, 0.015))
                variant = int(rng.integers(1 << 20))
                items.append(Item("car", s, t, 1.0, facing, variant))
            s += float(rng.uniform(5.2, 7.0))
    for _ in range(int(rng.poisson(2.2 * town.crowd * (1.6 if zone == "shop" else 0.8)))):
        s = float(rng.uniform(s0, s1))
        t = sign * (kerb + float(rng.uniform(0.7, max(0.8, walk - 0.4))))
        speed = float(rng.choice([-1.4, 1.4, -1.25, 1.3, 0.0, -1.5]))
        variant = int(rng.integers(1 << 20))
        items.append(Item("person", s, t, float(rng.normal(1.0, 0.06)), speed, variant))
        if rng.random() < 0.3:
            items.append(Item("person", s + 0.2, t + 0.55, 0.97, speed, variant + 7))


def _crossing(town: Town, rng: Rng, chunk: Chunk, s: float) -> None:
    kerb = town.layout.half_width
    for sign in (-1, 1):
        items = chunk.items
        items.append(Item("traffic_light", s, sign * (kerb + 0.5), 1.0, sign))
        if rng.random() < 0.6:
            t = sign * (kerb - float(rng.uniform(0.5, 3.0)))
            variant = int(rng.integers(1 << 20))
            items.append(Item("crosser", s + 1.5, t, 1.0, -sign * 1.3, variant))
