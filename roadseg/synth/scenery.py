"""Buildings and plants of a street on the canvas."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from roadseg.core.labels import class_id
from roadseg.synth.camera import Points
from roadseg.synth.canvas import Canvas, Texture
from roadseg.synth.facades import Facade
from roadseg.synth.light import Light
from roadseg.synth.noise import stream
from roadseg.synth.plants import TREE_SIZE_HW, hedge_texture, tree_texture
from roadseg.synth.street import Street
from roadseg.synth.town import Building, Item

_UP = np.array([0.0, 1.0, 0.0])
_DEPTH_M = 9.0
_BUILDING = class_id("building")
_TREE = class_id("tree")


class Scenery:
    """Draws each facade and each tree once, and puts them up where the street says."""

    def __init__(self, seed: int, street: Street, light: Light) -> None:
        self.seed = seed
        self.street = street
        self.light = light
        self._facade = lru_cache(maxsize=96)(self._make_facade)
        self._plant = lru_cache(maxsize=16)(self._make_plant)

    def _make_facade(self, kind: str, style: int, floors: int, width: int) -> Facade:
        # Neighbours in a terrace share a style, and so a texture.
        code = ("office", "shop", "terrace", "house").index(kind)
        rng = stream(self.seed, 9, code, style, floors, width)
        return Facade(rng, float(width), floors, kind)

    def _make_plant(self, kind: str, variant: int) -> Texture:
        code = ("leafy", "bare", "slim", "bush", "hedge").index(kind)
        rng = stream(self.seed, 10, code, variant)
        if kind == "hedge":
            return hedge_texture(rng)
        side = 1.0 if np.sin(self.light.sun_azimuth) > 0 else -1.0
        return tree_texture(rng, kind, side)

    def paint_building(self, canvas: Canvas, b: Building, shaded: float) -> None:
        """Paint the walls that face the street and the camera, and the roof."""
        facade = self._facade(b.kind, b.style, b.floors, 2 * round((b.s1 - b.s0) / 2))
        near = self.street.place(b.s0, b.front_t)
        end = self.street.place(b.s1, b.front_t)
        along = end - near
        outward = np.array([along[2], 0.0, -along[0]]) * -np.sign(b.front_t)
        outward = outward / np.linalg.norm(outward)
        height = _UP * facade.height_m
        deep = -outward * _DEPTH_M
        light = self.light
        if facade.pitched:
            rise = _UP * 2.6 + deep * 0.5
            normal = np.cross(along, rise)
            normal = normal / np.linalg.norm(normal) * np.sign(normal[1])
            lit = light.on(normal, 0.0)
            canvas.quad(near + height + rise, along, -rise, facade.roof, lit, _BUILDING)
            self._chimney(canvas, b, near + height + rise, along, outward)
        ahead = along / np.linalg.norm(along)
        for corner, normal in ((end, ahead), (near, -ahead)):
            if (canvas.camera.position - corner) @ normal > 0:
                lit = light.on(normal, shaded)
                canvas.quad(corner + height, deep, -height, facade.side, lit, _BUILDING)
                if facade.pitched:
                    gable = np.array(
                        [
                            corner + height,
                            corner + height + deep * 0.5 + _UP * 2.6,
                            corner + height + deep,
                        ]
                    )
                    tone = facade.side.mean
                    b_, g_, r_ = (float(c) * k for c, k in zip(tone, lit, strict=True))
                    canvas.polygon(gable, (b_, g_, r_), _BUILDING)
        lit = light.on(outward, shaded)
        canvas.quad(near + height, along, -height, facade.front, lit, _BUILDING)

    def _chimney(
        self, canvas: Canvas, b: Building, ridge: Points, along: Points, outward: Points
    ) -> None:
        rng = stream(self.seed, 11, int(b.s0 * 10) + 10_000_000)
        if rng.random() < 0.35:
            return
        ahead = along / np.linalg.norm(along)
        foot = ridge + along * float(rng.choice([0.06, 0.94])) - _UP * 0.6
        tall = _UP * float(rng.uniform(1.2, 2.0))
        for origin, edge, normal in (
            (foot - ahead * 0.35 + outward * 0.4, ahead * 0.7, outward),
            (foot - ahead * 0.35 - outward * 0.4, outward * 0.8, -ahead),
        ):
            tone = np.array((66.0, 80.0, 112.0))
            lit = self.light.on(normal)
            bgr = [float(c * k) for c, k in zip(tone, lit, strict=True)]
            face = np.array([origin, origin + edge, origin + edge + tall, origin + tall])
            canvas.polygon(face, (bgr[0], bgr[1], bgr[2]), _BUILDING)

    def paint_plant(self, canvas: Canvas, item: Item, shaded: float) -> None:
        """Paint a tree, bush or length of hedge."""
        foot = self.street.place(item.s, item.t)
        light = self.light.on(np.array([0.0, 0.6, -0.8]), shaded)
        b, g, r = (c * 1.05 for c in light)
        if item.kind == "hedge":
            end = self.street.place(item.s + item.facing, item.t)
            texture = self._plant("hedge", item.variant)
            height = _UP * item.size
            canvas.quad(foot + height, end - foot, -height, texture, (b, g, r), _TREE)
            return
        kind = self.street.town.tree_kind if item.kind == "tree" else "bush"
        if kind != "bush" and item.variant == 3:
            kind = "leafy" if kind == "slim" else "slim"
        texture = self._plant(kind, item.variant)
        aspect = TREE_SIZE_HW[1] / TREE_SIZE_HW[0]
        tall, wide = item.size, item.size * aspect * (1.0 if item.kind == "tree" else 1.5)
        away = foot - canvas.camera.position
        if float(canvas.camera.depth(foot[None])[0]) < 2.0:
            return
        right = np.array([away[2], 0.0, -away[0]])
        right = right / np.linalg.norm(right) * wide
        if int(item.s * 10) % 2:
            right = -right
        sunk = 0.0 if item.kind == "tree" else 0.06 * tall
        origin = foot - right / 2 + _UP * (tall - sunk)
        canvas.quad(origin, right, -_UP * tall, texture, (b, g, r), _TREE)
