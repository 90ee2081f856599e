"""Street furniture: lamps, signs, traffic lights, bollards, fences."""

from __future__ import annotations

import numpy as np

from roadseg.core.labels import class_id
from roadseg.synth.camera import Points
from roadseg.synth.canvas import Canvas, Colour, Texture
from roadseg.synth.fences import FenceTextures
from roadseg.synth.light import Light
from roadseg.synth.sculpt import Sculpture
from roadseg.synth.signs import SignTextures
from roadseg.synth.street import Street
from roadseg.synth.town import Item

_UP = np.array([0.0, 1.0, 0.0])
_POLE = class_id("pole")
_SIGN = class_id("sign")
_STEEL = (112.0, 112.0, 110.0)
_DARK = (44.0, 44.0, 42.0)


def paint_furniture(
    canvas: Canvas,
    street: Street,
    item: Item,
    light: Light,
    shaded: float,
    signs: SignTextures,
    fences: FenceTextures,
) -> None:
    """Paint one standing item other than plants, vehicles and people."""
    foot = street.place(item.s, item.t)
    if item.kind in fences.panels:
        _fence(canvas, street, item, light, shaded, fences)
    elif item.kind == "lamp":
        _lamp(canvas, street, item, foot, light, shaded)
    elif item.kind == "traffic_light":
        _traffic_light(canvas, street, item, foot, light, shaded)
    elif item.kind == "bollard":
        bars: list[_Bar] = [(foot, foot + _UP * 0.95, (0.075, 0.065), _DARK)]
        if item.variant:
            band = foot + _UP * 0.8
            bars.append((band, band + _UP * 0.06, (0.07, 0.07), (220, 222, 224)))
        _bars(canvas, bars, light, shaded)
    elif item.kind == "sign":
        texture, width, height = signs.plates[item.variant]
        pole: _Bar = (foot, foot + _UP * item.size, (0.038, 0.036), _STEEL)
        _bars(canvas, [pole], light, shaded)
        top = foot + _UP * item.size
        _plate(canvas, street, item.s, top, texture, (width, height), light, shaded)
    elif item.kind == "board":
        texture, width, height = signs.boards[item.variant]
        _plate(canvas, street, item.s, foot + _UP * height, texture, (width, height), light, shaded)


_Bar = tuple[Points, Points, tuple[float, float], Colour]
"""Both ends, the radius at each, and a colour."""


def _bars(canvas: Canvas, bars: list[_Bar], light: Light, shaded: float) -> None:
    normal = np.array([light.sun_vector[0], 0.2, light.sun_vector[2]])
    bright = light.on(normal / np.linalg.norm(normal), shaded)
    dark = light.on(np.array([0.0, 0.0, 1.0]), 1.0)
    shape = Sculpture()
    for a, b, radii, colour in bars:
        shape.limb(a, b, radii, _times(colour, dark), _times(colour, bright))
    lit = 1.0 if float(canvas.camera.rotation[0] @ light.sun_vector) > 0 else -1.0
    shape.paint(canvas, _POLE, lit)


def _times(colour: Colour, gain: Colour) -> Colour:
    b, g, r = (min(c * k, 255.0) for c, k in zip(colour, gain, strict=True))
    return (b, g, r)


def _plate(
    canvas: Canvas,
    street: Street,
    s: float,
    top: Points,
    texture: Texture,
    size: tuple[float, float],
    light: Light,
    shaded: float,
) -> None:
    heading = street.heading(s)
    right = np.array([np.cos(heading), 0.0, -np.sin(heading)])
    toward = np.array([-np.sin(heading), 0.0, -np.cos(heading)])
    origin = top - right * size[0] / 2 + toward * 0.05
    canvas.quad(origin, right * size[0], -_UP * size[1], texture, light.on(toward, shaded), _SIGN)


def _lamp(
    canvas: Canvas, street: Street, item: Item, foot: Points, light: Light, shaded: float
) -> None:
    heading = street.heading(item.s)
    inward = -item.facing * np.array([np.cos(heading), 0.0, -np.sin(heading)])
    top = foot + _UP * item.size
    arm = top + inward * 1.3 + _UP * 0.25
    bars: list[_Bar] = [
        (foot, foot + _UP * 1.3, (0.1, 0.1), _STEEL),
        (foot, top, (0.075, 0.05), _STEEL),
        (top, arm, (0.045, 0.04), _STEEL),
        (arm, arm + inward * 0.6, (0.09, 0.06), (150, 152, 150)),
    ]
    _bars(canvas, bars, light, shaded)


def _traffic_light(
    canvas: Canvas, street: Street, item: Item, foot: Points, light: Light, shaded: float
) -> None:
    _bars(canvas, [(foot, foot + _UP * 3.2, (0.06, 0.06), _DARK)], light, shaded)
    heading = street.heading(item.s)
    right = np.array([np.cos(heading), 0.0, -np.sin(heading)])
    toward = np.array([-np.sin(heading), 0.0, -np.cos(heading)])
    low, high = foot + _UP * 2.2 + toward * 0.1, foot + _UP * 3.2 + toward * 0.1
    box = Sculpture()
    half = right * 0.19
    face = np.array([low - half, high - half, high + half, low + half])
    box.facet(face, (26, 26, 26))
    burning = item.variant % 3
    lamps = ((40, 30, 210), (30, 150, 220), (150, 215, 60))
    for k, colour in enumerate(lamps):
        centre = high - _UP * (0.2 + 0.3 * k) + toward * 0.03
        angle = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        disc = centre + 0.105 * (np.cos(angle)[:, None] * right + np.sin(angle)[:, None] * _UP)
        shown = colour if k == 2 - burning else tuple(c * 0.18 + 8 for c in colour)
        box.facet(disc, (shown[0], shown[1], shown[2]), 1.0)
    box.paint(canvas, _SIGN)


def _fence(
    canvas: Canvas, street: Street, item: Item, light: Light, shaded: float, fences: FenceTextures
) -> None:
    panels = fences.panels[item.kind]
    texture = panels[item.variant % len(panels)]
    near = street.place(item.s, item.t)
    end = street.place(item.s + item.facing, item.t)
    along = end - near
    normal = np.array([along[2], 0.0, -along[0]]) * -np.sign(item.t)
    normal = normal / np.linalg.norm(normal)
    light_on = light.on(normal, shaded)
    label = class_id("fence")
    canvas.quad(near + _UP * item.size, along, -_UP * item.size, texture, light_on, label)
