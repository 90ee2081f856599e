"""The pinhole camera: world metres to pixels.

World: x right, y up, z forward, metres. Pixels: x right, y down, a pixel's centre at whole
numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Points: TypeAlias = npt.NDArray[np.float64]
"""float64 array of points or vectors, the last axis is x, y, z or pixel x, y."""

NEAR_M = 0.25
"""Depth in metres where geometry is cut off."""


@dataclass(frozen=True)
class Camera:
    """Where the camera is and what it sees.

    Attributes:
        position: (3,) world metres.
        yaw, pitch, roll: radians; positive yaw looks right, positive pitch looks up.
        focal_px: focal length in pixels.
        size_hw: picture size in pixels.
        centre_y: row of the optical axis.
    """

    position: Points
    yaw: float
    pitch: float
    roll: float
    focal_px: float
    size_hw: tuple[int, int]
    centre_y: float

    @cached_property
    def rotation(self) -> Points:
        """(3, 3) world to camera axes (x right, y down, z forward)."""
        sy, cy = np.sin(self.yaw), np.cos(self.yaw)
        sp, cp = np.sin(self.pitch), np.cos(self.pitch)
        sr, cr = np.sin(self.roll), np.cos(self.roll)
        turn = np.array([[cy, 0.0, -sy], [0.0, -1.0, 0.0], [sy, 0.0, cy]])
        tilt = np.array([[1.0, 0.0, 0.0], [0.0, cp, sp], [0.0, -sp, cp]])
        spin = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
        return np.asarray(spin @ tilt @ turn)

    @cached_property
    def projection(self) -> Points:
        """(3, 3) from world offsets to homogeneous pixels."""
        intrinsics = np.array(
            [
                [self.focal_px, 0.0, (self.size_hw[1] - 1) / 2],
                [0.0, self.focal_px, self.centre_y],
                [0.0, 0.0, 1.0],
            ]
        )
        return np.asarray(intrinsics @ self.rotation)

    def depth(self, points: Points) -> Points:
        """(N,) metres along the optical axis of (N, 3) world points."""
        return np.asarray((points - self.position) @ self.rotation[2])

    def project(self, points: Points) -> tuple[Points, Points]:
        """Pixels (N, 2) and depths (N,) of (N, 3) world points, all beyond `NEAR_M`."""
        h = (points - self.position) @ self.projection.T
        return h[:, :2] / h[:, 2:], h[:, 2]

    def project_polygon(self, points: Points) -> Points:
        """Pixels (M, 2) of a convex polygon (N, 3), cut at the near plane; M is 0 if behind."""
        h = (points - self.position) @ self.projection.T
        inside = h[:, 2] >= NEAR_M
        if not inside.all():
            if not inside.any():
                return np.empty((0, 2))
            kept = []
            for i in range(len(h)):
                a, b = h[i], h[(i + 1) % len(h)]
                if a[2] >= NEAR_M:
                    kept.append(a)
                if (a[2] >= NEAR_M) != (b[2] >= NEAR_M):
                    kept.append(a + (b - a) * ((NEAR_M - a[2]) / (b[2] - a[2])))
            h = np.array(kept)
        return np.asarray(h[:, :2] / h[:, 2:])

    def rays(self, first_row: int) -> Points:
        """(H - first_row, W, 3) world directions of the pixels from `first_row` down."""
        height, width = self.size_hw
        x, y = np.meshgrid(np.arange(width, dtype=float), np.arange(first_row, height, dtype=float))
        inverse = np.linalg.inv(self.projection)
        return np.asarray(
            x[..., None] * inverse[:, 0] + y[..., None] * inverse[:, 1] + inverse[:, 2]
        )

    @cached_property
    def horizon_row(self) -> int:
        """First row that may show the ground, whatever the roll."""
        slope = abs(np.tan(self.roll)) * self.size_hw[1] / 2
        row = self.centre_y + self.focal_px * np.tan(self.pitch) - slope
        return int(np.clip(np.floor(row), 0, self.size_hw[0]))
