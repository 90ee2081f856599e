"""Fronts of buildings: walls with windows, doors, shop fronts and offices' glass."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.synth.canvas import Texture
from roadseg.synth.noise import Array, Rng, fbm
from roadseg.synth.walls import PIXELS_PER_M, roof_tiles, to_pixels, wall, weather

FLOOR_M = 2.9
"""Height of a storey."""

_PAINTS = (
    (40, 36, 34),
    (70, 44, 30),
    (46, 70, 38),
    (36, 34, 110),
    (120, 84, 40),
    (190, 196, 200),
    (60, 100, 150),
    (90, 90, 96),
    (52, 30, 72),
)


class Facade:
    """One building's surfaces.

    Attributes:
        front, side, roof: opaque textures.
        width_m, height_m: size of the front.
        pitched: whether it carries a sloping roof.
    """

    def __init__(self, rng: Rng, width_m: float, floors: int, kind: str) -> None:
        self.width_m = width_m
        self.height_m = floors * FLOOR_M + (0.9 if kind == "office" else 0.45)
        self.pitched = kind in ("house", "terrace") or (kind == "shop" and rng.random() < 0.7)
        material = {
            "office": ("panel", "panel", "brick", "stone"),
            "shop": ("plaster", "brick", "brick", "plaster", "stone"),
            "terrace": ("brick", "brick", "plaster"),
            "house": ("brick", "brick", "plaster", "brick"),
        }[kind]
        self._material = material[int(rng.integers(len(material)))]
        self.front = make_facade(rng, self, floors, kind, self._material)
        self.side = make_side(rng, self.height_m, self._material)
        self.roof = Texture(roof_tiles(rng, (96, 192)))


def make_facade(rng: Rng, shape: Facade, floors: int, kind: str, material: str) -> Texture:
    """The texture of a front, 36 pixels a metre."""
    ppm = PIXELS_PER_M
    size_hw = (round(shape.height_m * ppm), round(shape.width_m * ppm))
    picture = weather(rng, wall(rng, size_hw, material))
    trim = np.array((205, 212, 216), np.float32) * rng.uniform(0.6, 1.05)
    paint = _paint(rng)
    top = shape.height_m - floors * FLOOR_M
    if kind == "office":
        _office(rng, picture, floors, top)
    else:
        bays = max(1, round(shape.width_m / rng.uniform(2.1, 3.0)))
        window_w = min(rng.uniform(0.85, 1.35), shape.width_m / bays - 0.5)
        window_h = rng.uniform(1.2, 1.75)
        style = int(rng.integers(3))
        for floor in range(floors):
            base = top + (floors - floor) * FLOOR_M  # the floor's level, from the top
            if floor == 0:
                continue
            for bay in range(bays):
                x = (bay + 0.5) * shape.width_m / bays - window_w / 2
                height = window_h * (0.85 if floor == floors - 1 and floors > 2 else 1.0)
                _window(rng, picture, (x, base - 0.85 - height), (window_w, height), trim, style)
        if kind == "shop":
            _shop(rng, picture, shape.width_m, top + (floors - 1) * FLOOR_M, paint)
        else:
            door_bay = int(rng.integers(bays))
            base = top + floors * FLOOR_M
            for bay in range(bays):
                x = (bay + 0.5) * shape.width_m / bays
                if bay == door_bay:
                    _door(rng, picture, x, base, paint, trim)
                else:
                    _window(
                        rng,
                        picture,
                        (x - window_w / 2, base - 0.8 - window_h),
                        (window_w, window_h),
                        trim,
                        style,
                    )
        if rng.random() < 0.5:
            band = top + (floors - 1) * FLOOR_M
            _strip(picture, 0, band - 0.12, shape.width_m, band, trim * 0.85)
    _crown(rng, picture, shape.width_m, trim, kind)
    if rng.random() < 0.7:
        x = rng.choice([0.12, shape.width_m - 0.22])
        _strip(picture, x, 0.3, x + 0.09, shape.height_m, np.array((40, 40, 42), np.float32))
    return Texture(to_pixels(picture))


def make_side(rng: Rng, height_m: float, material: str) -> Texture:
    """A plain gable wall, 9 m deep, now and then with a small window."""
    ppm = PIXELS_PER_M // 2
    picture = weather(rng, wall(rng, (round(height_m * ppm), 9 * ppm), material))
    return Texture(to_pixels(picture * 0.95))


def _paint(rng: Rng) -> Array:
    colour = np.array(_PAINTS[rng.integers(len(_PAINTS))], np.float32)
    return np.asarray(colour * rng.uniform(0.8, 1.2), np.float32)


def _box(picture: Array, x0: float, y0: float, x1: float, y1: float) -> Array:
    ppm = PIXELS_PER_M
    return picture[
        max(0, round(y0 * ppm)) : max(0, round(y1 * ppm)),
        max(0, round(x0 * ppm)) : max(0, round(x1 * ppm)),
    ]


def _strip(picture: Array, x0: float, y0: float, x1: float, y1: float, colour: Array) -> None:
    area = _box(picture, x0, y0, x1, y1)
    area[:] = colour
    if area.shape[0] > 1:
        area[-1] *= 0.6


def _glass(rng: Rng, area: Array, dark: float) -> None:
    """Fill an area with glass: a dim room, curtains, and the sky's reflection."""
    height, width = area.shape[:2]
    if height == 0 or width == 0:
        return
    room = np.array((46, 44, 44), np.float32) * dark
    sky = np.array((178, 166, 152), np.float32) * rng.uniform(0.35, 1.0)
    y = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(0, 1, width, dtype=np.float32)[None, :]
    edge = rng.uniform(-0.2, 1.2)
    mirror = np.clip(0.62 - 1.1 * np.abs(y + 0.4 * x - edge), 0.02, 0.6)[..., None]
    area[:] = room * (1 - mirror) + sky * mirror
    if rng.random() < 0.5:  # curtains
        share = rng.uniform(0.12, 0.4)
        cloth = np.array((190, 200, 205), np.float32) * rng.uniform(0.5, 0.95)
        w = max(1, round(width * share / 2))
        folds = 0.85 + 0.15 * np.sin(np.arange(w) * 1.7).astype(np.float32)[None, :, None]
        area[:, :w] = area[:, :w] * 0.35 + cloth * folds * 0.65
        area[:, -w:] = area[:, -w:] * 0.35 + cloth * folds * 0.65


def _window(
    rng: Rng,
    picture: Array,
    corner_xy: tuple[float, float],
    size_wh: tuple[float, float],
    trim: Array,
    style: int,
) -> None:
    x, y = corner_xy
    w, h = size_wh
    _strip(picture, x - 0.10, y - 0.18, x + w + 0.10, y, trim * 0.78)  # lintel
    _box(picture, x - 0.03, y, x + w + 0.03, y + h)[:] *= 0.4  # reveal in shadow
    frame = np.minimum(trim * 1.12, 240)
    _strip(picture, x + 0.02, y + 0.05, x + w - 0.02, y + h, frame)
    dark = float(rng.uniform(0.5, 1.3))
    columns, rows = ((1, 2), (2, 3), (2, 1))[style]
    gap = 0.055
    pane_w = (w - 0.04 - gap) / columns
    pane_h = (h - 0.05 - gap) / rows
    _glass(
        rng, _box(picture, x + 0.02 + gap, y + 0.05 + gap, x + w - 0.02 - gap, y + h - gap), dark
    )
    for column in range(1, columns):
        at = x + 0.02 + gap / 2 + column * pane_w
        _strip(picture, at - 0.02, y + 0.05, at + 0.03, y + h - 0.02, frame)
    for row in range(1, rows):
        at = y + 0.05 + gap / 2 + row * pane_h
        _strip(picture, x + 0.02, at - 0.02, x + w - 0.02, at + 0.03, frame)
    _box(picture, x, y, x + w, y + 0.10)[:] *= 0.55  # the lintel's shadow
    _strip(picture, x - 0.10, y + h, x + w + 0.10, y + h + 0.10, trim * 0.92)  # sill
    _box(picture, x - 0.06, y + h + 0.10, x + w + 0.06, y + h + 0.22)[:] *= 0.75


def _door(rng: Rng, picture: Array, x: float, base: float, paint: Array, trim: Array) -> None:
    _strip(picture, x - 0.62, base - 2.55, x + 0.62, base, trim)
    _box(picture, x - 0.5, base - 2.45, x + 0.5, base)[:] *= 0.4
    _glass(rng, _box(picture, x - 0.44, base - 2.4, x + 0.44, base - 2.1), 1.0)
    _strip(picture, x - 0.45, base - 2.03, x + 0.45, base - 0.06, paint)
    for side in (-0.36, 0.06):
        for y0, y1 in ((1.85, 1.1), (0.95, 0.2)):
            _box(picture, x + side, base - y0, x + side + 0.3, base - y1)[:] *= 0.72
    _strip(
        picture, x + 0.33, base - 1.08, x + 0.38, base - 1.0, np.array((90, 170, 190), np.float32)
    )


def _shop(rng: Rng, picture: Array, width: float, top: float, paint: Array) -> None:
    base = top + FLOOR_M
    _strip(picture, 0.05, top + 0.1, width - 0.05, base, paint * 0.75)
    # Fascia with a name on it.
    _strip(picture, 0.05, top + 0.15, width - 0.05, top + 0.75, paint)
    board = _box(picture, 0.05, top + 0.15, width - 0.05, top + 0.75)
    letters = np.array((225, 230, 232) if paint.mean() < 120 else (40, 40, 60), np.float32)
    x = int(board.shape[1] * rng.uniform(0.06, 0.3))
    h = board.shape[0]
    end = int(board.shape[1] * rng.uniform(0.6, 0.95))
    while x < end and h > 8:
        w = int(rng.integers(4, 9))
        if rng.random() < 0.86:
            cv2.ellipse(
                board,
                (x + w // 2, h // 2),
                (w // 2, h // 4),
                0,
                float(rng.integers(0, 120)),
                float(rng.integers(240, 400)),
                letters.tolist(),
                2,
                cv2.LINE_AA,
            )
            cv2.line(board, (x, h // 4), (x, 3 * h // 4), letters.tolist(), 2, cv2.LINE_AA)
        x += w + 3
    # Panes, with goods behind them, between slim pillars; one is the door.
    panes = max(2, round(width / rng.uniform(1.4, 2.2)))
    door = int(rng.integers(panes))
    for pane in range(panes):
        x0 = 0.15 + pane * (width - 0.3) / panes
        x1 = 0.15 + (pane + 1) * (width - 0.3) / panes - 0.1
        low = base - (0.08 if pane == door else rng.uniform(0.4, 0.5))
        area = _box(picture, x0, top + 0.85, x1, low)
        if area.size == 0:
            continue
        _glass(rng, area, 0.7)
        goods = np.clip(fbm(rng, area.shape[:2], 8, 3), -1, 2)[..., None]
        tint = rng.uniform(0.5, 1.5, 3).astype(np.float32)
        level = np.linspace(0.1, 1, area.shape[0], dtype=np.float32)[:, None, None]
        area += goods * level * tint * 18
        if rng.random() < 0.35:
            y = int(area.shape[0] * 0.12)
            area[y : y + 2, 3:-3] = (215, 235, 240)  # a lamp inside
    _box(picture, 0.05, top + 0.75, width - 0.05, top + 0.95)[:] *= 0.5


def _office(rng: Rng, picture: Array, floors: int, top: float) -> None:
    width = picture.shape[1] / PIXELS_PER_M
    band = rng.uniform(0.35, 1.1)
    pane = rng.uniform(0.9, 1.8)
    frame = np.array((70, 70, 72), np.float32) * rng.uniform(0.5, 2.4)
    blind = np.array((176, 180, 182), np.float32)
    for floor in range(floors):
        y0 = top + floor * FLOOR_M + band * 0.5
        y1 = top + (floor + 1) * FLOOR_M - band * 0.5
        _strip(picture, 0.2, y0, width - 0.2, y1, frame)
        count = max(1, round((width - 0.4) / pane))
        for i in range(count):
            x0 = 0.2 + i * (width - 0.4) / count + 0.05
            x1 = 0.2 + (i + 1) * (width - 0.4) / count - 0.03
            area = _box(picture, x0, y0 + 0.06, x1, y1 - 0.06)
            _glass(rng, area, 0.8)
            if rng.random() < 0.35:
                drop = int(area.shape[0] * rng.uniform(0.15, 0.7))
                area[:drop] = area[:drop] * 0.4 + blind * 0.5
        _box(picture, 0.2, y0, width - 0.2, y0 + 0.1)[:] *= 0.6


def _crown(rng: Rng, picture: Array, width: float, trim: Array, kind: str) -> None:
    if kind == "office":
        _strip(picture, 0, 0, width, 0.25, trim * 0.7)
        return
    _strip(picture, 0, 0.0, width, 0.16, np.array((58, 58, 60), np.float32))  # gutter
    if rng.random() < 0.6:
        _strip(picture, 0, 0.16, width, 0.3, trim * 0.9)
    _box(picture, 0, 0.3, width, 0.62)[:] *= 0.68  # the eaves' shadow
