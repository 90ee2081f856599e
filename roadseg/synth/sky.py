"""Sky, sun and clouds, and the far end of the street: a hazy line of trees and roofs."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.core.labels import class_id
from roadseg.synth.camera import Points
from roadseg.synth.canvas import Canvas
from roadseg.synth.light import Light
from roadseg.synth.noise import Array, fbm, stream

_SPAN = np.pi  # the pictures cover this much azimuth, ahead
_SIZE_HW = (256, 1024)
_TOP = 0.9  # tangent of the highest elevation


class Sky:
    """The sky of a drive, drawn once as a panorama and looked up by direction."""

    def __init__(self, seed: int, light: Light) -> None:
        rng = stream(seed, 3)
        height, width = _SIZE_HW
        level = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None, None]
        zenith = np.array(light.zenith, np.float32)
        horizon = np.array(light.horizon, np.float32)
        picture = horizon + (zenith - horizon) * level**0.8
        clouds = fbm(rng, (height, width), 5, 6)
        # Clouds are seen edge-on near the horizon: squeeze them there.
        rows = (np.linspace(0, 1, height, dtype=np.float32) ** 0.55) * (height - 1)
        x = np.tile(np.arange(width, dtype=np.float32), (height, 1))
        y = np.tile(rows[:, None], (1, width))
        clouds = cv2.remap(clouds, x, y, cv2.INTER_LINEAR)
        share = np.clip((clouds - light.cloud_gap) * 1.1, 0, 1)[..., None]
        bright = np.array(light.cloud, np.float32) * (1 - 0.10 * np.clip(clouds, -1, 2))[..., None]
        picture = picture * (1 - share) + bright * share
        azimuth = (np.arange(width) / width - 0.5) * _SPAN
        tangent = np.linspace(_TOP, 0, height)
        off = np.hypot(
            np.angle(np.exp(1j * (azimuth - light.sun_azimuth)))[None, :],
            (np.arctan(tangent) - light.sun_elevation)[:, None],
        ).astype(np.float32)
        glow = light.sun * (120 * np.exp(-off * 2.2) + 500 * np.exp(-((off / 0.04) ** 2)))
        self._picture = np.asarray(picture + glow[..., None], np.float32)
        self._sunny = light
        # Silhouettes at the far end: elevation over azimuth.
        trees = fbm(rng, (1, 2048), 24, 6)[0]
        base = rng.uniform(0.02, 0.05)
        self._trees = np.asarray(base + 0.014 * trees, np.float32)
        roofs = cv2.resize(
            rng.random((1, 128)).astype(np.float32), (2048, 1), interpolation=cv2.INTER_NEAREST
        )[0]
        gone = cv2.resize(
            rng.random((1, 32)).astype(np.float32), (2048, 1), interpolation=cv2.INTER_NEAREST
        )[0]
        self._roofs = np.asarray(np.where(gone < 0.6, 0.015 + 0.05 * roofs, -1), np.float32)
        self._tree_colour = np.array((58, 72, 66), np.float32)
        self._roof_colour = np.array((96, 100, 108), np.float32)

    def paint(self, canvas: Canvas) -> None:
        """Fill the whole picture; below the horizon goes the colour of the haze."""
        rays = canvas.camera.rays(0)
        flat = np.hypot(rays[..., 0], rays[..., 2])
        azimuth = np.arctan2(rays[..., 0], rays[..., 2])
        tangent = rays[..., 1] / flat
        height, width = _SIZE_HW
        u = ((azimuth / _SPAN + 0.5) * width).astype(np.float32)
        v = ((1 - np.clip(tangent, 0, _TOP) / _TOP) * (height - 1)).astype(np.float32)
        canvas.image[:] = cv2.remap(
            self._picture, u, v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
        canvas.labels[:] = class_id("sky")
        self._skyline(canvas, azimuth, tangent)

    def _skyline(self, canvas: Canvas, azimuth: Points, tangent: Points) -> None:
        near = tangent[:, tangent.shape[1] // 2]
        rows = np.nonzero((near < 0.2) & (near > -0.2))[0]
        if len(rows) == 0:
            return
        top, bottom = int(rows[0]), int(rows[-1]) + 1
        column = (azimuth[top:bottom] / _SPAN + 0.5) * 2047
        index = np.clip(column, 0, 2047).astype(int)
        pixel = 1.0 / canvas.camera.focal_px
        for line, colour, label, fade in (
            (self._trees, self._tree_colour, "tree", 0.62),
            (self._roofs, self._roof_colour, "building", 0.5),
        ):
            edge = line[index]
            cover = np.clip((edge - tangent[top:bottom]) / pixel + 0.5, 0, 1).astype(np.float32)
            veil: Array = np.array(canvas.veil.colour, np.float32)
            lit = colour * np.array(self._sunny.ambient, np.float32)
            shown = lit * (1 - fade) + veil * fade
            canvas.blend((0, top), cover[..., None] * shown, cover, class_id(label))
