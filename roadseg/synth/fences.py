"""Panels of railings, guard rails, planks and low walls, drawn once each."""

from __future__ import annotations

import numpy as np

from roadseg.synth.canvas import Texture
from roadseg.synth.noise import Rng
from roadseg.synth.walls import masonry, to_pixels


class FenceTextures:
    """Panels 4 m wide of each kind of fence."""

    def __init__(self, rng: Rng) -> None:
        self.panels = {
            "railing": [_railing(rng) for _ in range(2)],
            "guard": [_guard()],
            "planks": [_planks(rng) for _ in range(2)],
            "wall": [_low_wall(rng) for _ in range(3)],
        }


def _railing(rng: Rng) -> Texture:
    height, width = 64, 288
    alpha = np.zeros((height, width), np.uint8)
    x = np.arange(width)
    alpha[:, (x % 9) < 3] = 255
    alpha[6:10] = 255
    alpha[-12:-8] = 255
    alpha[:, (x % 144) < 6] = 255
    alpha[:5, (x % 9) >= 3] = 0
    tone = float(rng.uniform(22, 60))
    picture = np.full((height, width, 3), tone, np.float32)
    picture[..., 1] *= float(rng.uniform(0.95, 1.2))
    weight = alpha[..., None].astype(np.float32) / np.float32(255)
    cover = np.full((height, width), 255, np.uint8)
    cover[:4] = 0
    return Texture(np.dstack([to_pixels(picture * weight), alpha]), cover)


def _guard() -> Texture:
    height, width = 64, 288
    alpha = np.zeros((height, width), np.uint8)
    x = np.arange(width)
    alpha[:, (x % 18) < 4] = 255
    alpha[2:7] = 255
    alpha[-14:-9] = 255
    alpha[:, (x % 144) < 9] = 255
    weight = alpha[..., None].astype(np.float32) / np.float32(255)
    cover = np.full((height, width), 255, np.uint8)
    return Texture(
        np.dstack([to_pixels(np.full((height, width, 3), 142.0, np.float32) * weight), alpha]),
        cover,
    )


def _planks(rng: Rng) -> Texture:
    height, width = 96, 320
    colour = np.array((74, 104, 134), np.float32) * rng.uniform(0.55, 1.0)
    picture = masonry(rng, (height, width), (400.0, 11.0), colour, 0.10)
    picture += rng.standard_normal((height, width, 1)).astype(np.float32) * 5
    alpha = np.full((height, width), 255, np.uint8)
    alpha[:, np.arange(width) % 11 == 0] = 150
    alpha[:3] = 0
    picture *= alpha[..., None] / 255.0
    return Texture(
        np.dstack([to_pixels(picture), alpha]), np.where(alpha > 0, 255, 0).astype(np.uint8)
    )


def _low_wall(rng: Rng) -> Texture:
    height, width = 64, 288
    colour = np.array(
        ((70, 88, 128), (110, 140, 160), (132, 138, 142))[rng.integers(3)], np.float32
    )
    picture = masonry(rng, (height, width), (6.0, 17.0), colour * rng.uniform(0.7, 1.0), 0.1)
    picture[:7] = np.array((150, 154, 156), np.float32) * rng.uniform(0.6, 1.0)
    picture[7:10] *= 0.6
    return Texture(to_pixels(picture))
