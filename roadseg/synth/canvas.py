"""The picture being painted and its labels, which always change together.

Things are painted back to front. Each is painted through one coverage mask (0..1 per pixel);
the colour is blended by it and the label is set where it is at least one half. A see-through
thing may bring a second mask for its label: the gaps of a railing and the small holes of a
crown belong to them, as in CamVid's own labels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.types import Labels
from roadseg.synth.camera import Camera, Points
from roadseg.synth.noise import Array

Colour = tuple[float, float, float]
"""Blue, green, red, 0..255; as a light: factors around 1."""


def spread(layer: Array) -> Array:
    """(h, w) to (h, w, 3); multiplying by this is much faster than broadcasting."""
    return np.asarray(cv2.merge([layer, layer, layer]))


_TINY_PX = 8  # an opaque thing of this size needs no texture
_SHIFT = 4  # polygons are rasterised on a grid of 1/16 pixel

# One half, less one step of 8 bits: where eight of sixteen samples are covered, the rounding of
# the machine at hand must not decide.
_HALF = 0.496

_Level = tuple[npt.NDArray[np.uint8], Array | None]


@dataclass
class Texture:
    """A flat picture, with its smaller versions made when first needed.

    Attributes:
        pixels: (h, w, 3) uint8 BGR when opaque, (h, w, 4) with BGR already multiplied by alpha.
        cover: (h, w) uint8 mask for the label of a see-through texture; None: its alpha.
    """

    pixels: npt.NDArray[np.uint8]
    cover: npt.NDArray[np.uint8] | None = None
    _levels: dict[tuple[int, int], _Level] = field(default_factory=dict, repr=False)

    @cached_property
    def mean(self) -> Array:
        """(3,) average colour of an opaque texture."""
        return np.asarray(self.pixels.reshape(-1, 3).mean(axis=0), np.float32)

    def level(self, step_x: int, step_y: int) -> _Level:
        """Pixels shrunk by 2**step_x and 2**step_y, area-averaged, and the label's cover.

        Returns:
            Pixels, and (h, w) float32 0..1, None where the texture is opaque. Float, because
            8-bit interpolation rounds differently from one machine to the next.
        """
        key = (step_x, step_y)
        if key not in self._levels:
            height, width = self.pixels.shape[:2]
            size = (max(1, width >> step_x), max(1, height >> step_y))
            small = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
            cover = None
            if self.pixels.shape[2] == 4:
                layer = self.pixels[..., 3] if self.cover is None else self.cover
                whole = layer.astype(np.float32) * np.float32(1 / 255)
                cover = cv2.resize(whole, size, interpolation=cv2.INTER_AREA)
            self._levels[key] = (small, cover)
        return self._levels[key]


@dataclass(frozen=True)
class Veil:
    """What the air does to colours: they fade to `colour` with distance."""

    colour: Colour
    density_per_m: float

    def amount(self, distance_m: float) -> float:
        """Share of the air's colour at a distance, 0..1."""
        return float(1.0 - np.exp(-self.density_per_m * max(distance_m, 0.0)))


class Canvas:
    """A picture under way.

    Attributes:
        image: (H, W, 3) float32 BGR, about 0..255, before exposure.
        labels: (H, W) uint8 class ids.
    """

    def __init__(self, camera: Camera, veil: Veil) -> None:
        self.camera = camera
        self.veil = veil
        self.image: Array = np.zeros((*camera.size_hw, 3), np.float32)
        self.labels: Labels = np.zeros(camera.size_hw, np.uint8)

    def blend(
        self,
        corner_xy: tuple[int, int],
        premultiplied: Array,
        alpha: Array,
        label: int | Labels,
        cover: Array | None = None,
    ) -> None:
        """Put (h, w, 3) premultiplied BGR over the picture with its corner at `corner_xy`.

        Args:
            alpha: (h, w) coverage 0..1.
            label: one class id, or one per pixel.
            cover: (h, w) coverage for the label; None: alpha.
        """
        x, y = corner_xy
        height, width = alpha.shape
        x0, y0 = max(x, 0), max(y, 0)
        x1, y1 = min(x + width, self.labels.shape[1]), min(y + height, self.labels.shape[0])
        if x0 >= x1 or y0 >= y1:
            return
        inner = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
        target = self.image[y0:y1, x0:x1]
        target *= spread(1.0 - alpha[inner])
        target += premultiplied[inner]
        owned = (alpha if cover is None else cover)[inner] >= _HALF
        labels = self.labels[y0:y1, x0:x1]
        if isinstance(label, int):
            labels[owned] = label
        else:
            labels[owned] = label[inner][owned]

    def polygon_mask(self, points: Points) -> tuple[int, int, npt.NDArray[np.uint8]] | None:
        """Corner x, y and (h, w) uint8 coverage of a convex polygon of (N, 2) pixels."""
        if len(points) < 3:
            return None
        height, width = self.labels.shape
        x0, y0 = np.floor(points.min(axis=0)).astype(int) - 1
        x1, y1 = np.ceil(points.max(axis=0)).astype(int) + 2
        x0, y0, x1, y1 = max(x0, 0), max(y0, 0), min(x1, width), min(y1, height)
        if x0 >= x1 or y0 >= y1 or (x1 - x0 <= 3 and y1 - y0 <= 3):
            return None  # out of sight, or too small to cover half a pixel
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        # Far outside, a corner's exact place does not matter but must fit OpenCV's integers.
        local = np.clip(points - (x0, y0), -1500.0, 4500.0)
        fixed = np.round(local * (1 << _SHIFT)).astype(np.int32)
        cv2.fillConvexPoly(mask, fixed, 255, cv2.LINE_AA, _SHIFT)
        return int(x0), int(y0), mask

    def polygon(self, corners: Points, colour: Colour, label: int) -> None:
        """Paint a convex polygon of (N, 3) world metres in one colour."""
        points = self.camera.project_polygon(corners)
        found = self.polygon_mask(points)
        if found is None:
            return
        x, y, mask = found
        alpha = mask.astype(np.float32) / 255.0
        distance = float(self.camera.depth(corners.mean(axis=0, keepdims=True))[0])
        shown = np.array(self.faded(colour, distance), np.float32)
        self.blend((x, y), alpha[..., None] * shown, alpha, label)

    def faded(self, colour: Colour, distance_m: float) -> Colour:
        """A colour as it looks through `distance_m` of air."""
        share = self.veil.amount(distance_m)
        b, g, r = (
            c * (1 - share) + v * share for c, v in zip(colour, self.veil.colour, strict=True)
        )
        return (b, g, r)

    def quad(
        self,
        origin: Points,
        across: Points,
        down: Points,
        texture: Texture,
        light: Colour,
        label: int,
    ) -> None:
        """Paint a textured parallelogram.

        Args:
            origin: (3,) world place of the texture's top left corner.
            across, down: (3,) world vectors along its whole width and height.
            light: factor per channel.
        """
        camera = self.camera
        corners = np.array([origin, origin + across, origin + across + down, origin + down])
        points = camera.project_polygon(corners)
        found = self.polygon_mask(points)
        if found is None:
            return
        x, y, mask = found
        distance = float(np.maximum(camera.depth(corners), 0.0).mean())
        share = self.veil.amount(distance)
        veil = np.array(self.veil.colour, np.float32) * share
        gain = np.array(light, np.float32) * (1 - share)
        alpha = mask.astype(np.float32) * np.float32(1 / 255)
        if texture.pixels.shape[2] == 3 and max(mask.shape) <= _TINY_PX:
            self.blend((x, y), spread(alpha) * (texture.mean * gain + veil), alpha, label)
            return
        plane = camera.projection @ np.stack([across, down, origin - camera.position], axis=1)
        step_x, step_y = self._steps(plane, points, texture)
        pixels, cover = texture.level(step_x, step_y)
        height, width = pixels.shape[:2]
        to_plane = np.array([[1 / width, 0, 0.5 / width], [0, 1 / height, 0.5 / height], [0, 0, 1]])
        shift = np.array([[1.0, 0, -x], [0, 1, -y], [0, 0, 1]])
        matrix = shift @ plane @ to_plane
        size = (mask.shape[1], mask.shape[0])
        warped = cv2.warpPerspective(
            pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        levels = np.arange(256, dtype=np.float32)[:, None, None] * gain
        if cover is None:  # opaque: light and haze as one table
            colours = cv2.LUT(warped, levels + veil) * spread(alpha)
            self.blend((x, y), colours, alpha, label)
            return
        label_cover = alpha * cv2.warpPerspective(
            cover, matrix, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        colours = cv2.LUT(np.ascontiguousarray(warped[..., :3]), levels) * spread(alpha)
        alpha = alpha * (warped[..., 3].astype(np.float32) * np.float32(1 / 255))
        colours += spread(alpha) * veil
        self.blend((x, y), colours, alpha, label, label_cover)

    def _steps(self, plane: Points, points: Points, texture: Texture) -> tuple[int, int]:
        # How many texels fall on one pixel, across and down, in the middle of what is visible.
        height, width = self.labels.shape
        visible = np.clip(points, (0, 0), (width - 1, height - 1)).mean(axis=0)
        uv = np.linalg.solve(plane, np.array([visible[0], visible[1], 1.0]))
        u, v = np.clip(uv[:2] / uv[2], 0.0, 1.0)
        h = plane @ np.array([u, v, 1.0])
        depth = max(float(h[2]), 1e-3)
        steps = []
        for axis, size in ((0, texture.pixels.shape[1]), (1, texture.pixels.shape[0])):
            slope = (plane[:2, axis] - h[:2] / depth * plane[2, axis]) / depth
            texels = size / max(float(np.hypot(*slope)), 1e-3)
            step = int(np.floor(np.log2(max(texels, 1.0)) + 0.25))
            steps.append(min(step, max(size.bit_length() - 2, 0)))
        return steps[0], steps[1]
