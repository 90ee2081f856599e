"""Shapes of cars, vans and buses: bodies lofted along a side profile, with what is on them.

A car's own axes: x right, y up, z ahead, metres, the origin on the ground under its middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from roadseg.synth.camera import Points
from roadseg.synth.canvas import Colour
from roadseg.synth.car_profiles import (
    ACROSS,
    BUS_COLOURS,
    COLOURS,
    CUTS,
    LEAN,
    LEVELS,
    PROFILES,
    SIZES,
)
from roadseg.synth.noise import stream


@dataclass(frozen=True)
class CarModel:
    """One vehicle.

    Attributes:
        corners: (N, 4, 3) facets of the body.
        normals: (N, 3) unit, outward.
        surfaces: (N,) names: body, bonnet, roof, screen, rear, bumper, sill.
        decals: polygons (M, 3) lying on the body, back to front, with what they show.
    """

    kind: str
    length: float
    width: float
    colour: Colour
    corners: Points
    normals: Points
    surfaces: tuple[str, ...]
    decals: tuple[tuple[Points, str], ...]


@dataclass(frozen=True)
class _Shape:
    kind: str
    detail: int
    length: float
    half: float
    belt: float

    def out(self, y: float, z: float) -> float:
        """Half the body's width at a height and place."""
        taper = 1 - 0.13 * abs(2 * z / self.length) ** 5 * (0.2 if self.kind == "bus" else 1)
        lean = LEAN.get(self.kind, 0.40)
        barrel = 0.10 * (y - 0.62) ** 2 / 0.12 if y < self.belt else 0.0
        return (self.half - max(0.0, y - self.belt) * lean - min(barrel, 0.09)) * taper

    def on_side(self, sign: int, outline: list[tuple[float, float]], lift: float) -> Points:
        """A polygon of (height, place) on a flank."""
        return np.array([(sign * (self.out(y, z) + lift), y, z) for y, z in outline])


@lru_cache(maxsize=512)
def car_model(variant: int, large: bool = False, detail: int = 1) -> CarModel:
    """The vehicle with a number.

    Args:
        large: allow buses.
        detail: 0 for far away, 2 for very near.
    """
    rng = stream(variant, 6)
    kind = ("hatch", "saloon", "estate", "hatch", "saloon", "hatch", "van")[int(rng.integers(7))]
    paints: tuple[tuple[int, int, int], ...] = COLOURS
    if large and rng.random() < 0.12:
        kind, paints = "bus", BUS_COLOURS
    length, width, belt = SIZES[kind]
    length *= float(rng.uniform(0.95, 1.06))
    colour = np.array(paints[rng.integers(len(paints))]) * rng.uniform(0.85, 1.1)
    if kind == "van" and rng.random() < 0.6:
        colour = np.array((205.0, 207.0, 208.0))
    shape = _Shape(kind, detail, length, width / 2, belt)
    faces, surfaces = _body(shape)
    corners = np.array(faces)
    normals = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    sizes = np.linalg.norm(normals, axis=1)
    kept = sizes > 1e-9
    corners, normals = corners[kept], normals[kept] / sizes[kept, None]
    middle = corners.mean(axis=1)
    inside = np.stack([np.zeros(len(middle)), np.full(len(middle), 0.7), middle[:, 2] * 0.6], 1)
    normals *= np.where(((middle - inside) * normals).sum(axis=1) < 0, -1.0, 1.0)[:, None]
    names = tuple(name for name, keep in zip(surfaces, kept, strict=True) if keep)
    b, g, r = (float(c) for c in colour)
    decals = tuple(_flanks(shape) + _ends(shape))
    return CarModel(kind, length, width, (b, g, r), corners, normals, names, decals)


def _body(shape: _Shape) -> tuple[list[list[tuple[float, float, float]]], list[str]]:
    across, levels = ACROSS[shape.detail], (*LEVELS[shape.detail], shape.belt)
    faces: list[list[tuple[float, float, float]]] = []
    names: list[str] = []
    stations = _stations(shape)
    for (z0, y0, name), (z1, y1, _) in pairwise(stations):
        w0, w1 = shape.out(y0, z0), shape.out(y1, z1)
        for f0, f1 in pairwise(across):
            faces.append(
                [
                    (f0 * w0, y0 - 0.05 * f0**4, z0),
                    (f1 * w0, y0 - 0.05 * f1**4, z0),
                    (f1 * w1, y1 - 0.05 * f1**4, z1),
                    (f0 * w1, y1 - 0.05 * f0**4, z1),
                ]
            )
            edge = max(abs(f0), abs(f1)) > 0.9
            names.append("roof" if edge and name in ("screen", "rear") else name)
        levels0 = [min(v, y0) for v in levels] + [y0]
        levels1 = [min(v, y1) for v in levels] + [y1]
        for i in range(len(levels0) - 1):
            if levels0[i + 1] - levels0[i] + levels1[i + 1] - levels1[i] < 1e-3:
                continue
            drop = 0.05 * (i == len(levels0) - 2)
            for sign in (-1, 1):
                outline = [
                    (levels0[i], z0),
                    (levels0[i + 1] - drop, z0),
                    (levels1[i + 1] - drop, z1),
                    (levels1[i], z1),
                ]
                faces.append([(sign * shape.out(y, z), y, z) for y, z in outline])
                names.append("body" if i else "sill")
    return faces, names


def _stations(shape: _Shape) -> list[tuple[float, float, str]]:
    profile = PROFILES[shape.kind]
    found: list[tuple[float, float, str]] = []
    for (z0, y0, name), (z1, y1, _) in pairwise(profile):
        count = CUTS[shape.detail][name in ("bonnet", "screen", "roof")]
        for k in range(count):
            share = k / count
            found.append(((z0 + (z1 - z0) * share) * shape.length, y0 + (y1 - y0) * share, name))
    found.append((profile[-1][0] * shape.length, profile[-1][1], ""))
    return found


def _surface(shape: _Shape, name: str, last: bool = False) -> tuple[float, float]:
    """Place and height where a surface of the profile begins."""
    profile = PROFILES[shape.kind]
    z, y, _ = [p for p in profile if p[2] == name][-1 if last else 0]
    return z * shape.length, y


def _flanks(shape: _Shape) -> list[tuple[Points, str]]:
    found: list[tuple[Points, str]] = []
    panes, seams = _side_windows(shape)
    wheel_z = (0.315 * shape.length, -0.30 * shape.length)
    big = 1.45 if shape.kind == "bus" else 1.0
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    for sign in (-1, 1):
        found += [(shape.on_side(sign, pane, 0.012), "pane") for pane in panes]
        found += [(shape.on_side(sign, seam, 0.012), "seam") for seam in seams]
        for z in wheel_z:
            for radius, name, push in (
                (0.38, "arch", 0.006),
                (0.31, "tyre", 0.010),
                (0.20, "rim", 0.016),
                (0.07, "hub", 0.020),
            ):
                side = np.full(20, sign * (shape.half + push))
                y = big * (0.31 + radius * np.sin(angle))
                found.append((np.stack([side, y, z + big * radius * np.cos(angle)], axis=1), name))
        foot = (sign * (shape.half + 0.02), shape.belt, panes[0][0][1] - 0.05)
        mirror = np.array([(0.0, 0, 0), (0.0, 0.13, 0), (0.19, 0.13, 0), (0.19, 0, 0)])
        found.append((mirror * (sign, 1, 1) + foot, "mirror"))
    return found


def _side_windows(
    shape: _Shape,
) -> tuple[list[list[tuple[float, float]]], list[list[tuple[float, float]]]]:
    """Outlines (height, place) of panes and of the doors' seams."""
    screen, _ = _surface(shape, "screen")
    roof, roof_y = _surface(shape, "roof")
    rear, rear_y = _surface(shape, "rear")
    tail = next(z for z, _, _ in PROFILES[shape.kind] if z < rear / shape.length) * shape.length
    low, high = shape.belt + 0.05, min(roof_y, rear_y) - 0.10
    if shape.kind == "bus":
        high = 2.35
        edges = np.linspace(0.47, -0.46, 8) * shape.length
        panes = [
            [(low, a), (high, a), (high, b + 0.1), (low, b + 0.1)]
            for a, b in zip(edges.tolist(), edges[1:].tolist(), strict=False)
        ]
        return panes, []
    front, top = screen - 0.18, roof - 0.02
    if shape.kind == "van":
        panes = [[(low, front), (high, top), (high, top - 0.7), (low, top - 0.7)]]
        doors = [front, top - 0.75, -0.2 * shape.length]
    else:
        back, heel = rear + 0.02, tail + 0.22
        middle = (top + back) / 2
        panes = [
            [(low, front), (high, top), (high, middle + 0.05), (low, middle + 0.05)],
            [(low, middle - 0.05), (high, middle - 0.05), (high, back), (low, heel)],
        ]
        doors = [front + 0.02, middle, heel + 0.05]
    seams = [[(0.35, z), (low, z), (low, z - 0.02), (0.35, z - 0.02)] for z in doors]
    seams += [
        [(y, z - 0.12), (y + 0.035, z - 0.12), (y + 0.035, z - 0.30), (y, z - 0.30)]
        for y, z in ((shape.belt - 0.13, doors[1] + 0.35),)
    ]
    return panes, seams


def _ends(shape: _Shape) -> list[tuple[Points, str]]:
    half = shape.half
    face, heel = 0.503 * shape.length, -0.503 * shape.length
    _, screen_y = _surface(shape, "screen")
    _, rear_y = _surface(shape, "body", last=True)
    lamp_y = screen_y - (0.60 if shape.kind == "bus" else 0.38)
    low, tall = {"saloon": (0.70, 0.17), "bus": (0.85, 0.5), "van": (0.85, 0.36)}.get(
        shape.kind, (0.66, 0.30)
    )
    low = min(low, max(rear_y, 0.6) + 0.2)
    found = []
    for sign in (-1, 1):
        a, b = sign * 0.52 * half, sign * 0.85 * half
        found.append((_plate(a, b, lamp_y, lamp_y + 0.15, face), "headlight"))
        a, b = sign * 0.68 * half, sign * 0.86 * half
        found.append((_plate(a, b, low, low + tall, heel), "taillight"))
    found.append((_plate(-0.42 * half, 0.42 * half, lamp_y + 0.02, lamp_y + 0.12, face), "grille"))
    found.append((_plate(-0.7 * half, 0.7 * half, 0.28, 0.38, face), "grille"))
    found.append((_plate(-0.26, 0.26, 0.41, 0.52, face + 0.01), "plate_front"))
    found.append((_plate(-0.26, 0.26, 0.56, 0.67, heel - 0.01), "plate_rear"))
    found.append((_plate(-0.8 * half, 0.8 * half, 0.28, 0.36, heel), "grille"))
    if shape.kind == "bus":
        found.append((_plate(-0.7 * half, 0.7 * half, 2.62, 2.88, face + 0.01), "blind"))
    return found


def _plate(x0: float, x1: float, y0: float, y1: float, z: float) -> Points:
    return np.array([(x0, y0, z), (x0, y1, z), (x1, y1, z), (x1, y0, z)])
