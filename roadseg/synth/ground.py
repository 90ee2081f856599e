"""The ground: asphalt with its markings and shadows, kerbs, pavements, gardens.

Every pixel below the horizon is traced to its place in the street; what lies there gives both
the colour and the label. Lines and edges are covered analytically (the share of the pixel's
footprint), so they do not alias far away.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.labels import VOID_ID, class_id
from roadseg.core.types import Labels
from roadseg.synth.camera import Points
from roadseg.synth.canvas import Canvas, spread
from roadseg.synth.decals import DecalMap
from roadseg.synth.light import Light
from roadseg.synth.markings import band, street_markings
from roadseg.synth.noise import Array, fbm, stream
from roadseg.synth.shadows import ShadowMap
from roadseg.synth.street import Street
from roadseg.synth.town import CHUNK_M
from roadseg.synth.walls import masonry

FAR_M = 260.0
"""Where the ground is lost in haze."""

_KERB_M = 0.16
_TILE = 512
_TILE_M = 7.2  # length of a tile of paving
_WHITE = np.array((214.0, 218.0, 220.0), np.float32)
_YELLOW = np.array((84.0, 168.0, 190.0), np.float32)
_GRASS = np.array((42.0, 92.0, 78.0), np.float32)


@dataclass(frozen=True)
class _View:
    """What a picture's pixels see of the ground; arrays (h, W).

    Places are kept both exactly, for labels, and as float32 from `base_s`, for textures: float32
    has too few digits for a street of many kilometres.
    """

    base_s: float
    s: Points
    t: Points
    near_s: Array
    near_t: Array
    across: Array  # footprint of a pixel in metres
    along: Array
    mixed: Array

    def tile(self, texture: Array, per_m_s: float, per_m_t: float) -> Array:
        """Look up a tiling texture, given its texels per metre."""
        height, width = texture.shape[:2]
        offset = np.float32(self.base_s * per_m_s % height)
        v = self.near_s * np.float32(per_m_s) + offset
        u = self.near_t * np.float32(per_m_t)
        v -= np.floor(v * np.float32(1 / height)) * np.float32(height)
        u -= np.floor(u * np.float32(1 / width)) * np.float32(width)
        return np.asarray(cv2.remap(texture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP))


class Ground:
    """The ground of a street; in a `mirrored` picture its words must be written backwards."""

    def __init__(self, seed: int, street: Street, light: Light, mirrored: bool = False) -> None:
        rng = stream(seed, 4)
        self.street = street
        self.light = light
        self.shadows = ShadowMap(street, light)
        self.decals = DecalMap(street, mirrored)
        self._grain = rng.standard_normal((_TILE, _TILE)).astype(np.float32)
        self._cloudy = fbm(rng, (_TILE, _TILE), 6, 6)
        block = ((0.45, 0.6), (0.6, 0.9), (0.1, 0.2))[street.layout.paving]
        tone = np.array((104, 110, 114), np.float32) * rng.uniform(0.85, 1.2)
        if street.layout.paving == 2:
            tone = tone * np.array((0.8, 0.92, 1.1), np.float32)
        per_m = _TILE / _TILE_M
        slabs = masonry(rng, (_TILE, _TILE), (block[0] * per_m, block[1] * per_m), tone, 0.05)
        self._slabs = {0: slabs}
        for level in (2, 4):
            side = _TILE >> level
            self._slabs[level] = cv2.resize(slabs, (side, side), interpolation=cv2.INTER_AREA)
        grey = float(rng.uniform(82, 122))
        self._asphalt = np.array((grey * rng.uniform(1.0, 1.07), grey * 1.01, grey), np.float32)
        self._wear = float(rng.uniform(0.02, 0.09))
        self._paint = float(rng.uniform(0.55, 0.95))
        self._phase = float(rng.uniform(0, 6))
        self._kerb = np.array((128, 132, 136), np.float32) * rng.uniform(0.8, 1.15)

    def paint(self, canvas: Canvas, feet: list[Points]) -> None:
        """Paint the ground.

        Args:
            feet: outlines (N, 3) on the ground of things whose soft shadow falls straight down.
        """
        camera = canvas.camera
        first = camera.horizon_row
        if first >= camera.size_hw[0]:
            return
        rays = camera.rays(first)
        down = -rays[..., 1]
        hit = down > 1e-6
        reach = camera.position[1] / np.where(hit, down, 1.0)
        depth = reach  # rays are one metre deep per unit
        hit &= depth < FAR_M
        s = np.where(hit, camera.position[2] + reach * rays[..., 2], camera.position[2])
        t = np.where(hit, camera.position[0] + reach * rays[..., 0] - self.street.bend(s), 0.0)
        far = np.where(hit, depth, FAR_M).astype(np.float32)
        base = float(np.floor(camera.position[2] / CHUNK_M)) * CHUNK_M
        across = far * np.float32(1 / camera.focal_px)
        along = far * across * np.float32(1 / camera.position[1])
        view = _View(
            base,
            s,
            t,
            (s - base).astype(np.float32),
            t.astype(np.float32),
            across,
            along,
            np.sqrt(across * along),
        )
        colour = self._road(view)
        labels = np.full(s.shape, class_id("road"), np.uint8)
        self._sides(view, colour, labels)
        self._light(canvas, view, colour, feet, first)
        share = 1 - np.exp(-np.float32(canvas.veil.density_per_m) * far)
        share = np.maximum(share, np.clip((far - 0.7 * FAR_M) / (0.3 * FAR_M), 0, 1))
        _mix(colour, np.array(canvas.veil.colour, np.float32), share)
        seen = hit.astype(np.float32)
        canvas.blend((0, first), colour * spread(seen), seen, labels)

    def _road(self, view: _View) -> Array:
        layout = self.street.layout
        t = view.near_t
        grain = view.tile(self._grain, 70, 90) * np.clip(0.02 / view.mixed, 0, 1)
        rough = view.tile(self._cloudy, 22, 40) * np.clip(0.6 / view.mixed, 0, 1)
        broad = view.tile(self._cloudy, 2.5, 14)
        tone = 1 + 0.10 * grain + 0.03 * rough + 0.05 * broad
        # Tyres polish two tracks in each lane, and oil drips between them.
        lane = 2 * layout.half_width / layout.lanes
        place = np.abs(np.mod(t + np.float32(layout.half_width), np.float32(lane)) - lane / 2)
        tone += self._wear * np.exp(-(((place - 0.75) / 0.3) ** 2))
        tone -= 0.06 * np.exp(-((place / 0.35) ** 2))
        decals = self.decals.look_up(view.near_s, t, view.mixed, view.base_s)
        tone += decals[..., 0]
        colour = _tinted(self._asphalt, tone)
        white, yellow = street_markings(
            self.street, view.base_s, view.near_s, t, view.across, view.along, self._phase
        )
        white = np.maximum(white, decals[..., 1])
        wear = self._paint * (0.85 + 0.15 * np.clip(rough + 0.6, 0, 1))
        _mix(colour, _WHITE, white * wear)
        if self.street.layout.yellow_lines:
            _mix(colour, _YELLOW, yellow * wear)
        return colour

    def _sides(self, view: _View, colour: Array, labels: Labels) -> None:
        half = self.street.layout.half_width
        s, t = view.s, view.t
        side_road = np.zeros(s.shape, bool)
        gardens = np.zeros(s.shape, bool)
        for chunk in self.street.chunks(float(s.min()), float(s.max())):
            for s0, s1, sign in chunk.side_streets:
                side_road |= (s > s0) & (s < s1) & (t * sign > 0)
            for s0, s1, t0, t1 in chunk.gardens:
                gardens |= (s >= s0) & (s < s1) & (t > min(t0, t1)) & (t < max(t0, t1))
        off_road = (np.abs(t) > half) & ~side_road
        if not off_road.any():
            return
        aside = np.abs(view.near_t)
        # Coverage of the pavement, for a smooth kerb line along the street.
        cover = np.clip((aside - np.float32(half)) / view.across + 0.5, 0, 1)
        cover[side_road] = 0
        slabs = self._paving(view)
        slabs *= spread(1 + 0.06 * view.tile(self._cloudy, 9, 20))
        _mix(slabs, self._kerb, band(aside, half + _KERB_M / 2, _KERB_M / 2, view.across))
        gutter = 0.42 * band(aside, half - 0.05, 0.06, view.across)
        gutter[side_road] = 0
        colour *= spread(1 - gutter)
        _mix(colour, slabs, cover)
        labels[off_road] = class_id("pavement")
        gardens &= off_road
        if gardens.any():
            blades = view.tile(self._grain, 45, 45) * np.clip(0.2 / view.across, 0, 1)
            tone = 1 + 0.12 * blades + 0.13 * view.tile(self._cloudy, 12, 12)
            colour[gardens] = _tinted(_GRASS, tone)[gardens]
            labels[gardens] = VOID_ID

    def _paving(self, view: _View) -> Array:
        # Three sizes of the tile, chosen by the footprint and blended.
        wanted = np.log2(np.maximum(view.mixed * np.float32(_TILE / _TILE_M), 1.0))
        total = np.zeros((*wanted.shape, 3), np.float32)
        for level, tile in self._slabs.items():
            if level == 4:
                weight = np.clip((wanted - 2) / 2, 0, 1)
            else:
                weight = np.clip(1 - np.abs(wanted - level) / 2, 0, 1)
            if weight.any():
                per_m = tile.shape[0] / _TILE_M
                total += view.tile(tile, per_m, per_m) * spread(weight)
        return total

    def _light(
        self, canvas: Canvas, view: _View, colour: Array, feet: list[Points], first: int
    ) -> None:
        shade = self.shadows.look_up(view.near_s, view.near_t, view.base_s)
        up = np.array([0.0, 1.0, 0.0])
        bright = np.array(self.light.on(up), np.float32)
        dark = np.array(self.light.on(up, 1.0), np.float32)
        lit = _tinted(dark - bright, shade)
        lit += bright
        colour *= lit
        height, width = canvas.camera.size_hw
        contact = np.zeros((height - first, width), np.float32)
        for outline in feet:
            _soften(contact, canvas.camera.project_polygon(outline) - (0, first))
        colour *= spread(1 - 0.72 * contact)


def _soften(contact: Array, points: Points) -> None:
    """Darken the place under something: a blurred polygon of pixels."""
    if len(points) < 3:
        return
    height, width = contact.shape
    points = np.clip(points, -3000, 6000)
    low, high = points.min(axis=0), points.max(axis=0)
    size = float(min(high[1] - low[1], high[0] - low[0]))
    margin = int(size * 0.5 + 3)
    x0, y0 = max(int(low[0]) - margin, 0), max(int(low[1]) - margin, 0)
    x1, y1 = min(int(high[0]) + margin + 1, width), min(int(high[1]) + margin + 1, height)
    if x0 >= x1 or y0 >= y1:
        return
    mask = np.zeros((y1 - y0, x1 - x0), np.float32)
    cv2.fillConvexPoly(mask, np.round((points - (x0, y0)) * 16).astype(np.int32), 1.0, 8, 4)
    mask = cv2.GaussianBlur(mask, (0, 0), max(0.6, size * 0.14))
    area = contact[y0:y1, x0:x1]
    np.maximum(area, mask, out=area)


def _tinted(colour: npt.NDArray[np.float32], tone: Array) -> Array:
    b, g, r = colour
    return np.asarray(cv2.merge([tone * b, tone * g, tone * r]), np.float32)


def _mix(colour: Array, other: Array, amount: Array) -> None:
    """Move `colour` (h, w, 3) towards `other` by `amount` (h, w), in place."""
    colour += spread(amount) * (other - colour)
