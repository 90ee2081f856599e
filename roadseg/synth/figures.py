"""People on foot and on bicycles: jointed figures of round limbs."""

from __future__ import annotations

import numpy as np

from roadseg.core.labels import class_id
from roadseg.synth.camera import Points
from roadseg.synth.canvas import Canvas, Colour
from roadseg.synth.light import Light
from roadseg.synth.noise import Rng, stream
from roadseg.synth.sculpt import Sculpture

_COATS = (
    (34, 32, 32),
    (48, 40, 34),
    (70, 48, 32),
    (36, 34, 44),
    (44, 40, 130),
    (120, 76, 40),
    (92, 108, 122),
    (60, 70, 60),
    (150, 156, 160),
    (52, 90, 130),
    (80, 60, 110),
    (40, 170, 190),
)
_LEGS = ((36, 33, 32), (72, 54, 42), (92, 70, 56), (50, 48, 50), (86, 96, 104), (40, 44, 60))
_SKINS = ((128, 156, 200), (140, 168, 212), (92, 122, 172), (56, 80, 124))
_HAIR = ((24, 28, 34), (40, 56, 78), (60, 90, 120), (110, 116, 120), (20, 20, 22))


def _scaled(colour: tuple[int, int, int], gain: Colour, factor: float) -> Colour:
    b, g, r = (min(c * k * factor, 255.0) for c, k in zip(colour, gain, strict=True))
    return (b, g, r)


class _Dresser:
    """Chooses clothes and adds lit limbs to a sculpture."""

    def __init__(self, rng: Rng, canvas: Canvas, light: Light, shaded: float) -> None:
        self.sculpture = Sculpture()
        self.coat = _COATS[rng.integers(len(_COATS))]
        self.legs = _LEGS[rng.integers(len(_LEGS))]
        self.skin = _SKINS[rng.integers(len(_SKINS))]
        self.hair = _HAIR[rng.integers(len(_HAIR))]
        self.shoes = (30, 30, 32)
        sun = light.sun_vector
        self.lit_x = 1.0 if float(canvas.camera.rotation[0] @ sun) > 0 else -1.0
        facing = np.array([sun[0], 0.35, sun[2]])
        self.dark = light.on(np.array([0.0, 0.0, 1.0]), 1.0)
        self.bright = light.on(facing / np.linalg.norm(facing), shaded)

    def limb(
        self,
        a: Points,
        b: Points,
        radii: tuple[float, float],
        colour: tuple[int, int, int],
    ) -> None:
        self.sculpture.limb(
            a, b, radii, _scaled(colour, self.dark, 0.8), _scaled(colour, self.bright, 1.05)
        )


def _axes(heading: float) -> tuple[Points, Points]:
    ahead = np.array([np.sin(heading), 0.0, np.cos(heading)])
    right = np.array([np.cos(heading), 0.0, -np.sin(heading)])
    return ahead, right


def _knee(hip: Points, foot: Points, ahead: Points, bend: float) -> Points:
    return (hip + foot) / 2 + ahead * bend


def paint_person(
    canvas: Canvas,
    origin: Points,
    heading: float,
    phase: float,
    stride: float,
    size: float,
    variant: int,
    light: Light,
    shaded: float,
) -> None:
    """Paint someone walking.

    Args:
        origin: (3,) point on the ground under the hips.
        heading: radians to the right of z.
        phase: of the step, radians; `stride`: 0 standing, 1 walking.
        size: 1 is 1.74 m tall.
        variant: chooses clothes.
    """
    rng = stream(variant, 7)
    who = _Dresser(rng, canvas, light, shaded)
    ahead, right = _axes(heading)
    up = np.array([0.0, 1.0, 0.0])

    def at(forward: float, side: float, height: float) -> Points:
        return np.asarray(origin + size * (ahead * forward + right * side + up * height))

    bob = 0.02 * stride * np.cos(2 * phase)
    hip_y, shoulder_y = 0.90 + bob, 1.42 + bob
    broad = float(rng.uniform(0.155, 0.2))
    for sign in (-1, 1):
        swing = stride * np.sin(phase + (0 if sign > 0 else np.pi))
        lift = stride * max(0.0, np.cos(phase + (0 if sign > 0 else np.pi))) * 0.10
        hip, foot = at(0, sign * 0.085, hip_y), at(0.34 * swing, sign * 0.08, 0.07 + lift)
        knee = _knee(hip, foot, ahead, size * (0.04 + 0.5 * lift))
        who.limb(hip, knee, (0.088, 0.064), who.legs)
        who.limb(knee, foot, (0.062, 0.046), who.legs)
        toe = foot + size * (ahead * 0.13 - up * 0.03)
        who.limb(foot - up * 0.02, toe, (0.048, 0.036), who.shoes)
        shoulder = at(0, sign * broad, shoulder_y - 0.03)
        hand = at(-0.26 * swing + 0.05, sign * (broad + 0.07), 0.86 + bob)
        elbow = _knee(shoulder, hand, ahead, -0.05 * size)
        who.limb(shoulder, elbow, (0.062, 0.05), who.coat)
        who.limb(elbow, hand, (0.05, 0.036), who.coat)
        who.limb(hand, hand - up * 0.06, (0.04, 0.034), who.skin)
    long_coat = float(rng.choice([0.86, 0.80, 0.62]))
    who.limb(at(0, 0, shoulder_y - 0.12), at(0.01, 0, long_coat), (0.185, 0.16), who.coat)
    who.limb(
        at(0, -broad * 0.75, shoulder_y - 0.04),
        at(0, broad * 0.75, shoulder_y - 0.04),
        (0.09, 0.09),
        who.coat,
    )
    who.limb(at(0, 0, 1.46 + bob), at(0.02, 0, 1.54 + bob), (0.05, 0.05), who.skin)
    who.limb(at(0.03, 0, 1.58 + bob), at(0.03, 0, 1.66 + bob), (0.085, 0.09), who.skin)
    who.limb(at(-0.03, 0, 1.60 + bob), at(-0.01, 0, 1.69 + bob), (0.086, 0.088), who.hair)
    extra = rng.random()
    if extra < 0.25:  # a rucksack
        who.limb(at(-0.2, 0, 1.30 + bob), at(-0.2, 0, 1.02 + bob), (0.13, 0.14), (50, 44, 60))
    elif extra < 0.5:  # a bag in one hand
        colour = ((150, 156, 160), (60, 66, 90), (40, 40, 44))[int(rng.integers(3))]
        low = at(0.04, broad + 0.1, 0.55 + bob)
        who.limb(low + up * 0.16, low, (0.09, 0.13), colour)
    who.sculpture.paint(canvas, class_id("pedestrian"), who.lit_x)


def paint_cyclist(
    canvas: Canvas,
    origin: Points,
    heading: float,
    phase: float,
    variant: int,
    light: Light,
    shaded: float,
) -> None:
    """Paint a bicycle and its rider.

    Args:
        origin: (3,) point on the ground between the wheels.
        phase: of the pedals, radians.
    """
    rng = stream(variant, 8)
    who = _Dresser(rng, canvas, light, shaded)
    ahead, right = _axes(heading)
    up = np.array([0.0, 1.0, 0.0])
    frame = ((40, 40, 150), (120, 60, 30), (44, 44, 46), (150, 150, 150))[int(rng.integers(4))]
    metal = _scaled(frame, who.bright, 0.8)
    black = _scaled((24, 24, 25), who.dark, 1.0)

    def at(forward: float, side: float, height: float) -> Points:
        return np.asarray(origin + ahead * forward + right * side + up * height)

    sculpture = who.sculpture
    for z in (-0.52, 0.52):
        sculpture.hoop(at(z, 0, 0.34), np.stack([ahead, up]), 0.33, 0.045, black)
        for k in range(4):  # spokes
            angle = phase + k * np.pi / 4
            spoke = ahead * np.cos(angle) + up * np.sin(angle)
            hub = at(z, 0, 0.34)
            sculpture.limb(hub - spoke * 0.32, hub + spoke * 0.32, (0.004, 0.004), (120, 120, 122))
    axle, seat, head = at(-0.02, 0, 0.30), at(-0.20, 0, 0.86), at(0.36, 0, 0.84)
    for a, b in (
        (axle, seat),
        (axle, head),
        (seat - up * 0.06, head),
        (at(-0.52, 0, 0.34), axle),
        (at(-0.52, 0, 0.34), seat - up * 0.08),
        (head, at(0.52, 0, 0.34)),
        (head, head + up * 0.14),
    ):
        sculpture.limb(a, b, (0.022, 0.022), metal)
    bar = at(0.40, 0, 1.0)
    sculpture.limb(bar - right * 0.27, bar + right * 0.27, (0.018, 0.018), black)
    sculpture.limb(seat - ahead * 0.12, seat + ahead * 0.12, (0.06, 0.03), black)
    lean = float(rng.uniform(0.1, 0.3))
    hip, shoulder = at(-0.18, 0, 0.96), at(-0.12 + lean, 0, 1.42)
    for sign in (-1, 1):
        turn = phase + (0 if sign > 0 else np.pi)
        foot = axle + ahead * 0.17 * np.cos(turn) + up * (0.17 * np.sin(turn) + 0.03)
        foot = foot + right * sign * 0.11
        top = hip + right * sign * 0.09
        knee = (top + foot) / 2 + ahead * 0.2 + up * 0.06
        who.limb(top, knee, (0.09, 0.066), who.legs)
        who.limb(knee, foot, (0.062, 0.045), who.legs)
        who.limb(foot - ahead * 0.05, foot + ahead * 0.12, (0.045, 0.036), who.shoes)
        joint = shoulder + right * sign * 0.18 - up * 0.03
        hand = bar + right * sign * 0.24
        elbow = (joint + hand) / 2 - up * 0.05 + right * sign * 0.05
        who.limb(joint, elbow, (0.062, 0.05), who.coat)
        who.limb(elbow, hand, (0.048, 0.036), who.coat)
        who.limb(hand, hand + ahead * 0.05, (0.04, 0.035), who.skin)
    who.limb(hip + up * 0.02, shoulder - up * 0.10, (0.155, 0.175), who.coat)
    who.limb(
        shoulder - right * 0.12 - up * 0.05,
        shoulder + right * 0.12 - up * 0.05,
        (0.09, 0.09),
        who.coat,
    )
    face = shoulder + ahead * 0.08 + up * 0.2
    who.limb(face, face + up * 0.08, (0.085, 0.09), who.skin)
    helmet = rng.random() < 0.55
    hat = ((200, 205, 208), (40, 40, 160), (40, 40, 42))[int(rng.integers(3))]
    crown = face - ahead * 0.03 + up * 0.06
    who.limb(
        crown - ahead * 0.04,
        crown + ahead * 0.05 + up * 0.03,
        (0.1, 0.095),
        hat if helmet else who.hair,
    )
    sculpture.paint(canvas, class_id("bicyclist"), who.lit_x)
