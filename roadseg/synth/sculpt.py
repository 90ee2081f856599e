"""Solid things made of small primitives, drawn enlarged and shrunk onto the canvas."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.synth.camera import NEAR_M, Points
from roadseg.synth.canvas import Canvas, Colour

_SHIFT = 4  # outlines are rasterised on a grid of 1/16 of an enlarged pixel
_ONE = 1 << _SHIFT
_LARGEST_PX = 1400

_Layer: TypeAlias = npt.NDArray[np.uint8]
_Fixed: TypeAlias = npt.NDArray[np.int32]


@dataclass
class _Part:
    kind: str
    points: Points
    radius_m: tuple[float, float]
    colour: Colour
    light: Colour | None
    order: float


@dataclass
class Sculpture:
    """Primitives in world metres, painted far to near as one thing with one label."""

    parts: list[_Part] = field(default_factory=list)

    def facet(self, points: Points, colour: Colour, order: float = 0.0) -> None:
        """A convex polygon (N, 3). A higher `order` is painted later, whatever the depth."""
        self.parts.append(_Part("facet", points, (0.0, 0.0), colour, None, order))

    def limb(
        self,
        start: Points,
        end: Points,
        radius_m: tuple[float, float],
        colour: Colour,
        light: Colour | None = None,
    ) -> None:
        """A tapering round bar; with `light`, its lit side gets that colour."""
        self.parts.append(_Part("limb", np.array([start, end]), radius_m, colour, light, 0.0))

    def hoop(
        self, centre: Points, axes: Points, radius_m: float, width_m: float, colour: Colour
    ) -> None:
        """A wheel's rim in the plane of two unit vectors (2, 3); its inside belongs to it."""
        angle = np.linspace(0, 2 * np.pi, 25)
        circle = np.cos(angle)[:, None] * axes[0] + np.sin(angle)[:, None] * axes[1]
        points = centre + radius_m * circle
        self.parts.append(_Part("hoop", points, (width_m, width_m), colour, None, 0.0))

    def paint(self, canvas: Canvas, label: int, lit_x: float = -1.0) -> None:
        """Draw it all; nothing is drawn of a thing that reaches behind the camera.

        Args:
            lit_x: -1 when the light comes from the picture's left, 1 from its right.
        """
        if not self.parts:
            return
        camera = canvas.camera
        counts = np.array([len(p.points) for p in self.parts])
        starts = np.concatenate([[0], np.cumsum(counts)])
        every = np.concatenate([p.points for p in self.parts])
        pixels, depth = camera.project(every)
        nearest = float(depth.min())
        if nearest < NEAR_M * 2:
            return
        reach = max(max(p.radius_m) for p in self.parts) * camera.focal_px / nearest
        height, width = canvas.labels.shape
        low = np.maximum(np.floor(pixels.min(axis=0) - reach - 2), 0).astype(int)
        high = np.minimum(np.ceil(pixels.max(axis=0) + reach + 3), (width, height)).astype(int)
        if (low >= high).any():
            return
        size = high - low
        longest = int(size.max())
        scale = 4 if longest * 4 <= 400 else (3 if longest * 3 <= _LARGEST_PX else 2)
        layers = _Layers((int(size[1]) * scale, int(size[0]) * scale), lit_x)
        share = canvas.veil.amount(float(depth.mean()))
        air = np.array(canvas.veil.colour) * share
        colours = np.clip(np.array([p.colour for p in self.parts]) * (1 - share) + air, 0, 255)
        middle = np.add.reduceat(depth, starts[:-1]) / counts
        order = np.array([p.order for p in self.parts])
        # A pixel's centre is at a whole number: keep it there after enlarging.
        local = np.clip((pixels - low + 0.5) * scale - 0.5, -4000, 8000)
        fixed = np.round(local * _ONE).astype(np.int32)
        radius_scale = camera.focal_px * scale / depth
        small = longest < 14
        for i in np.lexsort((-middle, order)):
            part = self.parts[i]
            here = slice(starts[i], starts[i + 1])
            colour = colours[i].tolist()
            if part.kind == "facet":
                layers.fill(fixed[here], colour)
                continue
            radii = np.array(part.radius_m) * radius_scale[here][:2]
            if part.kind == "hoop":
                layers.hoop(fixed[here], float(radii.mean()), colour)
                continue
            layers.bar(local[here], radii, colour)
            if part.light is not None and not small:
                lit = np.array(part.light) * (1 - share) + air
                layers.highlight(local[here], radii, colours[i], np.clip(lit, 0, 255))
        layers.put(canvas, (int(low[0]), int(low[1])), (int(size[0]), int(size[1])), label)


class _Layers:
    """Colour, coverage and label coverage of one sculpture, enlarged."""

    def __init__(self, size_hw: tuple[int, int], lit_x: float) -> None:
        self.colour: _Layer = np.zeros((*size_hw, 3), np.uint8)
        self.mask: _Layer = np.zeros(size_hw, np.uint8)
        self.cover: _Layer | None = None  # only where it differs from the mask
        self.lit_x = lit_x

    def fill(self, fixed: _Fixed, colour: list[float]) -> None:
        cv2.fillConvexPoly(self.colour, fixed, colour, 8, _SHIFT)
        cv2.fillConvexPoly(self.mask, fixed, 255, 8, _SHIFT)

    def hoop(self, fixed: _Fixed, width: float, colour: list[float]) -> None:
        if self.cover is None:
            self.cover = np.zeros_like(self.mask)
        cv2.fillConvexPoly(self.cover, fixed, 255, 8, _SHIFT)
        thick = max(1, round(width))
        cv2.polylines(self.colour, [fixed], True, colour, thick, 8, _SHIFT)
        cv2.polylines(self.mask, [fixed], True, 255, thick, 8, _SHIFT)

    def bar(self, points: Points, radii: Points, colour: list[float]) -> None:
        outline, centres, sizes = _outline(points, radii)
        self.fill(outline, colour)
        for at, size in zip(centres, sizes, strict=True):
            cv2.circle(self.colour, at, size, colour, -1, 8, _SHIFT)
            cv2.circle(self.mask, at, size, 255, -1, 8, _SHIFT)

    def highlight(self, points: Points, radii: Points, dark: Points, lit: Points) -> None:
        # Thick bars get several steps of light, so that they look round.
        steps = 4 if float(radii.max()) > 16 else (2 if float(radii.max()) > 5 else 1)
        for k in range(steps):
            share = (k + 1) / steps
            shift = np.array([self.lit_x * 0.36, -0.12]) * radii[:, None] * share
            width = 0.96 - 0.5 * share if steps > 1 else 0.6
            outline, centres, sizes = _outline(points + shift, radii * width)
            colour = (dark + (lit - dark) * share).tolist()
            cv2.fillConvexPoly(self.colour, outline, colour, 8, _SHIFT)
            for at, size in zip(centres, sizes, strict=True):
                cv2.circle(self.colour, at, size, colour, -1, 8, _SHIFT)

    def put(
        self, canvas: Canvas, corner_xy: tuple[int, int], size_wh: tuple[int, int], label: int
    ) -> None:
        def shrunk(layer: _Layer) -> npt.NDArray[np.float32]:
            small = cv2.resize(layer, size_wh, interpolation=cv2.INTER_AREA)
            return np.asarray(small, np.float32)

        # The highlight of a thin bar may stick out of it.
        self.colour[self.mask == 0] = 0
        alpha = shrunk(self.mask) * np.float32(1 / 255)
        cover = None
        if self.cover is not None:
            cover = np.maximum(alpha, shrunk(self.cover) * np.float32(1 / 255))
        canvas.blend(corner_xy, shrunk(self.colour), alpha, label, cover)


def _outline(points: Points, radii: Points) -> tuple[_Fixed, list[list[int]], list[int]]:
    (ax, ay), (bx, by) = points.tolist()
    ra, rb = radii.tolist()
    length = max(float(np.hypot(bx - ax, by - ay)), 1e-6)
    nx, ny = -(by - ay) / length, (bx - ax) / length
    corners = [
        (ax + nx * ra, ay + ny * ra),
        (bx + nx * rb, by + ny * rb),
        (bx - nx * rb, by - ny * rb),
        (ax - nx * ra, ay - ny * ra),
    ]
    fixed = np.array([[round(x * _ONE), round(y * _ONE)] for x, y in corners], np.int32)
    centres = [[round(ax * _ONE), round(ay * _ONE)], [round(bx * _ONE), round(by * _ONE)]]
    return fixed, centres, [max(1, round(ra * _ONE)), max(1, round(rb * _ONE))]
