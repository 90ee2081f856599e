"""Weather and camera: where light comes from, how strong and what colour, and the exposure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roadseg.synth.camera import Points
from roadseg.synth.canvas import Colour
from roadseg.synth.noise import Rng


@dataclass(frozen=True)
class Light:
    """The light of a drive; colours are BGR.

    Attributes:
        sun: strength of direct light, 0 under cloud.
        sun_azimuth: radians to the right of z; `sun_elevation`: radians above the horizon.
        ambient, direct: factors of the sky's and the sun's light on surfaces.
        zenith, horizon, cloud: colours of the sky; `cloud_gap`: how rare clouds are.
        haze: colour of the air; `haze_per_m`: its density.
        exposure, contrast, saturation: of the camera; `noise`, `blur_px`, `vignette` likewise.
    """

    sun: float
    sun_azimuth: float
    sun_elevation: float
    ambient: Colour
    direct: Colour
    zenith: Colour
    horizon: Colour
    cloud: Colour
    cloud_gap: float
    haze: Colour
    haze_per_m: float
    exposure: float
    contrast: float
    saturation: float
    noise: float
    blur_px: float
    vignette: float

    @property
    def sun_vector(self) -> Points:
        """(3,) unit vector towards the sun."""
        flat = np.cos(self.sun_elevation)
        return np.array(
            [
                flat * np.sin(self.sun_azimuth),
                np.sin(self.sun_elevation),
                flat * np.cos(self.sun_azimuth),
            ]
        )

    def on(self, normal: Points, shaded: float = 0.0) -> Colour:
        """Light on a surface: factors per channel.

        Args:
            normal: (3,) unit normal.
            shaded: share of the direct light that something keeps off, 0..1.
        """
        facing = max(float(normal @ self.sun_vector), 0.0) * self.sun * (1 - shaded)
        open_sky = 0.85 + 0.15 * float(normal[1])
        b, g, r = (
            a * open_sky + d * facing for a, d in zip(self.ambient, self.direct, strict=True)
        )
        return (b, g, r)


def make_light(rng: Rng) -> Light:
    """Draw the weather: clear, bright overcast or dull, at some hour of the day."""
    weather = ("clear", "bright", "dull", "clear", "bright")[int(rng.integers(5))]
    azimuth = float(rng.uniform(-np.pi, np.pi))
    elevation = float(rng.uniform(0.3, 0.95))
    warm = float(np.clip(1.1 - elevation, 0.1, 0.7))
    jitter = rng.uniform(0.95, 1.05)
    if weather == "clear":
        sun = float(rng.uniform(0.85, 1.35))
        ambient = (0.53, 0.50, 0.47)
        zenith = (235 * jitter, 190.0, 150.0)
        horizon = (250.0, 244.0, 236.0)
        cloud, gap = (262.0, 260.0, 258.0), float(rng.uniform(0.2, 1.6))
        haze, density = (214.0, 206.0, 198.0), 0.0022
    elif weather == "bright":
        sun = float(rng.uniform(0.15, 0.45))
        ambient = (0.74, 0.73, 0.72)
        zenith, horizon = (252.0, 248.0, 240.0), (262.0, 262.0, 260.0)
        cloud, gap = (258.0, 257.0, 254.0), -0.6
        haze, density = (222.0, 220.0, 216.0), 0.0035
    else:
        sun = 0.0
        ambient = (0.70, 0.67, 0.64)
        zenith, horizon = (206.0, 200.0, 192.0), (236.0, 234.0, 230.0)
        cloud, gap = (196.0, 190.0, 184.0), -0.3
        haze, density = (200.0, 198.0, 194.0), 0.0055
    return Light(
        sun=sun,
        sun_azimuth=azimuth,
        sun_elevation=elevation,
        ambient=ambient,
        direct=(0.72 - 0.22 * warm, 0.80 - 0.06 * warm, 0.86),
        zenith=zenith,
        horizon=horizon,
        cloud=cloud,
        cloud_gap=gap,
        haze=haze,
        haze_per_m=density * float(rng.uniform(0.5, 1.6)),
        exposure=float(rng.uniform(0.85, 1.6)),
        contrast=float(rng.uniform(1.0, 1.5)),
        saturation=float(rng.uniform(0.45, 1.0)),
        noise=float(rng.uniform(0.8, 2.6)),
        blur_px=float(rng.uniform(0.35, 0.75)),
        vignette=float(rng.uniform(0.04, 0.2)),
    )
