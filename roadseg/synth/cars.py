"""Painting cars: paint that mirrors the sky, dark glass, lamps, wheels."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from roadseg.core.labels import class_id
from roadseg.synth.camera import Points
from roadseg.synth.canvas import Canvas, Colour
from roadseg.synth.car_shapes import CarModel
from roadseg.synth.light import Light
from roadseg.synth.sculpt import Sculpture

_UNDERSIDE: Colour = (14.0, 14.0, 15.0)
_DECALS: dict[str, Colour] = {
    "arch": (16, 16, 16),
    "tyre": (26, 26, 27),
    "rim": (118, 118, 120),
    "hub": (60, 60, 62),
    "grille": (24, 24, 25),
    "plate_front": (206, 212, 214),
    "plate_rear": (50, 180, 205),
    "headlight": (205, 206, 204),
    "taillight": (28, 24, 150),
    "mirror": (34, 34, 36),
    "blind": (40, 150, 200),
}
_BURNING: Colour = (70.0, 60.0, 255.0)
_DETAIL_M = 45.0  # beyond, seams are too thin to draw


def car_feet(model: CarModel, origin: Points, heading: float) -> Points:
    """Outline (4, 3) of the ground under a car."""
    x, z = model.width / 2 * 1.02, model.length / 2 * 1.02
    corners = np.array([(-x, 0.01, -z), (x, 0.01, -z), (x, 0.01, z), (-x, 0.01, z)])
    return np.asarray(origin + corners @ _turn(heading))


def paint_car(
    canvas: Canvas,
    model: CarModel,
    origin: Points,
    heading: float,
    light: Light,
    shaded: float,
    braking: bool = False,
) -> None:
    """Paint a car.

    Args:
        origin: (3,) point on the ground under its middle.
        heading: radians to the right of z.
        shaded: share of sunlight that something keeps off it.
        braking: whether its brake lights burn.
    """
    turn = _turn(heading)
    eye = (canvas.camera.position - origin) @ turn.T
    sculpture = Sculpture()
    # The dark underneath closes the gap between the sills and the road.
    x, z = model.width / 2 - 0.08, model.length / 2 - 0.25
    ring = np.array([(-x, -z), (x, -z), (x, z), (-x, z), (-x, -z)])
    for (x0, z0), (x1, z1) in pairwise(ring):
        skirt = np.array([(x0, 0.03, z0), (x0, 0.32, z0), (x1, 0.32, z1), (x1, 0.03, z1)])
        sculpture.facet(origin + skirt @ turn, _UNDERSIDE, -1.0)

    views = eye - model.corners.mean(axis=1)
    seen = np.nonzero((views * model.normals).sum(axis=1) > 0)[0]
    views = views[seen] / np.linalg.norm(views[seen], axis=1, keepdims=True)
    names = [model.surfaces[i] for i in seen]
    colours = _shade(model, names, model.normals[seen] @ turn, views @ turn, light, shaded)
    for corners, (b, g, r) in zip(
        origin + model.corners[seen] @ turn, colours.tolist(), strict=True
    ):
        sculpture.facet(corners, (b, g, r))

    far = float(np.hypot(eye[0], eye[2])) > _DETAIL_M
    dim = light.on(np.array((0.0, 0.0, 1.0)), 1.0)
    for corners, name in model.decals:
        middle = corners.mean(axis=0)
        if not _faces(model, middle, eye, name) or (far and name in ("seam", "hub")):
            continue
        b, g, r = _decal_colour(model, middle, name, eye, turn, light, shaded, braking)
        if name != "pane" and not (braking and name == "taillight"):
            b, g, r = b * dim[0], g * dim[1], r * dim[2]
        sculpture.facet(origin + corners @ turn, (b, g, r), 1.0)
    side = float(canvas.camera.rotation[0] @ light.sun_vector)
    sculpture.paint(canvas, class_id("car"), 1.0 if side > 0 else -1.0)


def _faces(model: CarModel, middle: Points, eye: Points, name: str) -> bool:
    if abs(middle[2]) > 0.499 * model.length:
        return bool(abs(eye[2]) > abs(middle[2]) and eye[2] * middle[2] > 0)
    if name == "mirror":
        return True
    return bool(abs(eye[0]) > abs(middle[0]) and eye[0] * middle[0] > 0)


def _decal_colour(
    model: CarModel,
    middle: Points,
    name: str,
    eye: Points,
    turn: Points,
    light: Light,
    shaded: float,
    braking: bool,
) -> Colour:
    if name == "pane":
        normal = np.array((np.sign(middle[0]), 0.12, 0.0))
        view = (eye - middle) / np.linalg.norm(eye - middle)
        shown = _shade(model, ["screen"], normal[None] @ turn, view[None] @ turn, light, shaded)
        b, g, r = shown[0].tolist()
        return (b, g, r)
    if name == "seam":
        b, g, r = model.colour
        return (b * 0.4, g * 0.4, r * 0.4)
    if name == "taillight" and braking:
        return _BURNING
    return _DECALS[name]


def _shade(
    model: CarModel,
    names: list[str],
    normals: Points,
    views: Points,
    light: Light,
    shaded: float,
) -> Points:
    """(N, 3) BGR of facets: diffuse paint or dark glass, and what they mirror."""
    facing = np.maximum((normals * views).sum(axis=1, keepdims=True), 0.0)
    mirrors = 2 * facing * normals - views
    grazing = (1 - facing) ** 3
    # What a panel mirrors: sky above, the street's dark sides at the horizon, road below.
    sky = np.array(light.horizon) * np.array(light.ambient)
    mirrored = sky * np.clip(0.25 + mirrors[:, 1:2] * 1.6, 0.12, 1.0)
    direct = np.maximum(normals @ light.sun_vector, 0.0)[:, None] * light.sun * (1 - shaded)
    open_sky = 0.78 + 0.22 * normals[:, 1:2]
    gain = np.array(light.ambient) * open_sky + np.array(light.direct) * direct
    glass = np.array([name in ("screen", "rear") for name in names])[:, None]
    worn = np.array([0.72 if name in ("bumper", "sill") else 1.0 for name in names])[:, None]
    shine = np.maximum(mirrors @ light.sun_vector, 0.0)[:, None] ** 40 * light.sun * (1 - shaded)
    share = np.where(glass, 0.16 + 0.6 * grazing, 0.07 + 0.45 * grazing)
    matter = np.where(glass, np.array((26.0, 25.0, 24.0)), np.array(model.colour) * worn)
    colour = matter * gain * (1 - share) + mirrored * share * np.where(glass, 0.75, 1.0)
    return np.asarray(np.clip(colour + 150 * shine, 0, 255))


def _turn(heading: float) -> Points:
    """(3, 3): rows are the car's right, up and ahead in the world."""
    s, c = np.sin(heading), np.cos(heading)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])
