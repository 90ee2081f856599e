"""Trees, hedges and bushes, drawn once each as see-through pictures."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.synth.canvas import Texture
from roadseg.synth.noise import Array, Rng, fbm

TREE_SIZE_HW = (640, 512)
"""Pixels of a tree's picture; its foot is in the middle of the bottom edge."""

_LEAVES = (
    (38, 86, 70),
    (44, 96, 62),
    (34, 74, 66),
    (52, 104, 92),
    (40, 70, 48),
    (54, 92, 112),
)


def tree_texture(rng: Rng, kind: str, sun_x: float) -> Texture:
    """A tree.

    Args:
        kind: `leafy`, `bare`, `slim` (a tall crown) or `bush` (no visible trunk).
        sun_x: -1 when the light comes from the left, 1 from the right.
    """
    height, width = TREE_SIZE_HW
    colour = np.zeros((height, width, 3), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    bark = np.array((62, 68, 74), np.float32) * rng.uniform(0.6, 1.15)
    tips: list[tuple[float, float]] = []
    if kind == "bush":
        tips = _scatter(rng, 120, (0.5, 0.55), (0.42, 0.42))
    else:
        trunk = {"leafy": 15.0, "bare": 17.0, "slim": 12.0}[kind] * rng.uniform(0.8, 1.2)
        _branch(
            rng,
            (colour, alpha),
            (width / 2, float(height)),
            -np.pi / 2 + rng.uniform(-0.06, 0.06),
            height * (0.15 if kind == "slim" else 0.185) * rng.uniform(0.85, 1.1),
            trunk,
            bark,
            sun_x,
            tips,
            kind,
        )
    if kind == "bare":
        _twigs(rng, colour, alpha, tips, bark)
    else:
        if kind == "slim":
            tips += _scatter(rng, 90, (0.5, 0.45), (0.2, 0.42))
        elif kind == "leafy":
            tips += _scatter(rng, 60, (0.5, 0.34), (0.31, 0.23))
        _leaves(rng, colour, alpha, tips, sun_x, kind)
    # Small holes belong to the crown.
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (15, 15))
    solid = cv2.morphologyEx(alpha, cv2.MORPH_CLOSE, kernel)
    cover = cv2.GaussianBlur(solid, (9, 9), 0) if kind == "bare" else solid
    weight = alpha.astype(np.float32)[..., None] / 255.0
    pixels = np.dstack([(colour * weight).astype(np.uint8), alpha])
    # A clear rim keeps the clamped border of the picture empty.
    for layer in (pixels, cover):
        layer[:1] = 0
        layer[:, :1] = 0
        layer[:, -1:] = 0
    return Texture(pixels, cover)


def _scatter(
    rng: Rng, count: int, centre: tuple[float, float], radius: tuple[float, float]
) -> list[tuple[float, float]]:
    height, width = TREE_SIZE_HW
    angle = rng.uniform(0, 2 * np.pi, count)
    reach = np.sqrt(rng.uniform(0, 1, count))
    x = (centre[0] + radius[0] * reach * np.cos(angle)) * width
    y = (centre[1] + radius[1] * reach * np.sin(angle)) * height
    return [(float(a), float(b)) for a, b in zip(x, y, strict=True)]


def _branch(
    rng: Rng,
    layers: tuple[np.ndarray, np.ndarray],
    start: tuple[float, float],
    angle: float,
    length: float,
    thickness: float,
    bark: Array,
    sun_x: float,
    tips: list[tuple[float, float]],
    kind: str,
) -> None:
    colour, alpha = layers
    end = (start[0] + length * np.cos(angle), start[1] + length * np.sin(angle))
    a = (round(start[0]), round(start[1]))
    b = (round(end[0]), round(end[1]))
    wide = max(1, round(thickness))
    cv2.line(alpha, a, b, 255, wide, cv2.LINE_AA)
    cv2.line(colour, a, b, (bark * rng.uniform(0.7, 0.9)).tolist(), wide + 2)
    if wide >= 3:
        side = round(sun_x * thickness * 0.22)
        light = (bark * 1.35).tolist()
        cv2.line(colour, (a[0] + side, a[1]), (b[0] + side, b[1]), light, max(1, wide // 3))
    if thickness < 1.3 or length < 13:
        tips.append(end)
        return
    if thickness < 4:
        tips.append(end)
    spread = {"leafy": 0.62, "bare": 0.5, "slim": 0.3}[kind]
    children = 2 if rng.random() < 0.6 else 3
    for child in range(children):
        turn = spread * (child - (children - 1) / 2) + rng.normal(0, 0.22)
        bend = angle + turn
        bend += 0.08 * (-np.pi / 2 - bend)  # twigs grow upwards
        _branch(
            rng,
            layers,
            end,
            bend,
            length * rng.uniform(0.66, 0.86),
            thickness * rng.uniform(0.56, 0.74),
            bark,
            sun_x,
            tips,
            kind,
        )


def _twigs(
    rng: Rng, colour: np.ndarray, alpha: np.ndarray, tips: list[tuple[float, float]], bark: Array
) -> None:
    for x, y in tips:
        for _ in range(8):
            angle = rng.normal(-np.pi / 2, 0.95)
            length = rng.uniform(10, 36)
            end = (round(x + length * np.cos(angle)), round(y + length * np.sin(angle)))
            cv2.line(alpha, (round(x), round(y)), end, 215, 1, cv2.LINE_AA)
            shade = (bark * rng.uniform(0.75, 1.2)).tolist()
            cv2.line(colour, (round(x), round(y)), end, shade, 2)


def _leaves(
    rng: Rng,
    colour: np.ndarray,
    alpha: np.ndarray,
    tips: list[tuple[float, float]],
    sun_x: float,
    kind: str,
) -> None:
    green = np.array(_LEAVES[rng.integers(len(_LEAVES))], np.float32) * rng.uniform(0.75, 1.1)
    points = np.array(tips)
    # Nothing may reach the picture's border, where it would be cut off in a straight line.
    points = np.clip(points, (44, 48), (TREE_SIZE_HW[1] - 44, TREE_SIZE_HW[0] - 30))
    middle = points.mean(axis=0)
    extent = points.std(axis=0) * 2 + 1
    per_tip = max(6, 20000 // len(points))
    spread = 20.0 if kind != "bush" else 17.0
    order = np.repeat(np.arange(len(points)), per_tip)
    offset = rng.normal(0, spread, (len(order), 2)) * (1.0, 0.75)
    place = points[order] + offset
    kept = ((place > 5) & (place < (TREE_SIZE_HW[1] - 6, TREE_SIZE_HW[0] - 6))).all(axis=1)
    order, offset, place = order[kept], offset[kept], place[kept]
    # Light falls from above and from the sun's side, both on the crown and on each clump.
    whole = (place - middle) / extent
    clump = offset / spread
    lit = 0.32 * (sun_x * whole[:, 0] * 0.7 - whole[:, 1])
    lit = lit + 0.22 * (sun_x * clump[:, 0] * 0.6 - clump[:, 1]) + rng.normal(0, 0.16, len(order))
    shade = np.clip(0.78 + lit, 0.28, 1.65)
    tint = rng.normal(0, 5, (len(points), 3))[order]
    colours = np.clip(green * shade[:, None] + tint * shade[:, None], 0, 255)
    radius = rng.integers(1, 4, len(order))
    sequence = np.argsort(shade + rng.normal(0, 0.2, len(order)))
    spots = place[sequence].astype(int).tolist()
    sizes = radius[sequence].tolist()
    for at, size, bgr in zip(spots, sizes, colours[sequence].tolist(), strict=True):
        cv2.circle(alpha, at, size, 255, -1, cv2.LINE_AA)
        cv2.circle(colour, at, size + 1, bgr, -1)


def hedge_texture(rng: Rng) -> Texture:
    """A clipped hedge, 6 m by 1.5 m: ragged on top, see-through nowhere else."""
    height, width = 96, 384
    green = np.array(_LEAVES[rng.integers(len(_LEAVES))], np.float32) * rng.uniform(0.7, 1.0)
    leaves = fbm(rng, (height, width), 60, 3) * 0.26 + fbm(rng, (height, width), 8, 3) * 0.12
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    shade = np.clip(1.15 - 0.6 * y + leaves, 0.2, 1.8)[..., None]
    top = 7 + 3.5 * fbm(rng, (1, width), 40, 3)[0]
    rows = np.arange(height, dtype=np.float32)[:, None]
    alpha = np.clip(rows - top[None, :] + fbm(rng, (height, width), 90, 2) * 1.5, 0, 1)
    pixels = np.dstack([np.clip(green * shade, 0, 255) * alpha[..., None], alpha * 255])
    return Texture(pixels.astype(np.uint8))
