"""Traffic signs and boards, drawn once each."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.synth.canvas import Colour, Texture
from roadseg.synth.noise import Rng

_SIDE = 96


class SignTextures:
    """Traffic signs and boards, drawn once."""

    def __init__(self, rng: Rng, mirrored: bool = False) -> None:
        plates = [
            _round(rng, "limit"),
            _round(rng, "order"),
            _triangle(rng),
            _round(rng, "no"),
            _board(rng, (130, 60, 30), (0.9, 0.62)),
            _board(rng, (70, 96, 30), (1.1, 0.7)),
            _board(rng, (212, 216, 218), (0.55, 0.75)),
            _round(rng, "entry"),
        ]
        boards = [_poster(rng) for _ in range(4)]
        if mirrored:  # the finished picture will be
            for texture, _, _ in plates + boards:
                texture.pixels = np.ascontiguousarray(texture.pixels[:, ::-1])
        self.plates, self.boards = plates, boards


def _blank(colour: Colour) -> tuple[np.ndarray, np.ndarray]:
    picture = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    picture[:] = np.array(colour, np.uint8)
    return picture, np.zeros((_SIDE, _SIDE), np.uint8)


def _cut(picture: np.ndarray, alpha: np.ndarray) -> Texture:
    weight = alpha[..., None].astype(np.float32) / 255
    return Texture(np.dstack([(picture * weight).astype(np.uint8), alpha]))


def _round(rng: Rng, kind: str) -> tuple[Texture, float, float]:
    middle, radius = (_SIDE // 2, _SIDE // 2), _SIDE // 2 - 3
    red, white, blue = (40, 30, 190), (228, 230, 230), (170, 84, 20)
    picture, alpha = _blank((200, 200, 200))
    cv2.circle(alpha, middle, radius, 255, -1, cv2.LINE_AA)
    if kind == "limit":
        cv2.circle(picture, middle, radius, red, -1, cv2.LINE_AA)
        cv2.circle(picture, middle, radius - 9, white, -1, cv2.LINE_AA)
        text = ("20", "30", "40")[int(rng.integers(3))]
        cv2.putText(
            picture, text, (18, 63), cv2.FONT_HERSHEY_SIMPLEX, 1.5, (16, 16, 16), 6, cv2.LINE_AA
        )
    elif kind == "order":
        cv2.circle(picture, middle, radius, white, -1, cv2.LINE_AA)
        cv2.circle(picture, middle, radius - 3, blue, -1, cv2.LINE_AA)
        cv2.arrowedLine(picture, (26, 26), (68, 68), white, 9, cv2.LINE_AA, tipLength=0.4)
    elif kind == "no":
        cv2.circle(picture, middle, radius, red, -1, cv2.LINE_AA)
        cv2.circle(picture, middle, radius - 8, blue, -1, cv2.LINE_AA)
        cv2.line(picture, (20, 20), (76, 76), red, 8, cv2.LINE_AA)
        if rng.random() < 0.5:
            cv2.line(picture, (76, 20), (20, 76), red, 8, cv2.LINE_AA)
    else:
        cv2.circle(picture, middle, radius, red, -1, cv2.LINE_AA)
        cv2.rectangle(picture, (16, 40), (80, 56), white, -1)
    return _cut(picture, alpha), 0.62, 0.62


def _triangle(rng: Rng) -> tuple[Texture, float, float]:
    picture, alpha = _blank((40, 30, 190))
    outer = np.array([(_SIDE // 2, 6), (_SIDE - 4, _SIDE - 12), (4, _SIDE - 12)], np.int32)
    inner = np.array([(_SIDE // 2, 26), (_SIDE - 20, _SIDE - 22), (20, _SIDE - 22)], np.int32)
    cv2.fillConvexPoly(alpha, outer, 255, cv2.LINE_AA)
    cv2.fillConvexPoly(picture, inner, (226, 230, 230), cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.line(picture, (48, 42), (48, 62), (18, 18, 18), 7, cv2.LINE_AA)
        cv2.circle(picture, (48, 70), 4, (18, 18, 18), -1, cv2.LINE_AA)
    else:
        cv2.circle(picture, (48, 46), 5, (18, 18, 18), -1, cv2.LINE_AA)
        cv2.line(picture, (48, 50), (44, 70), (18, 18, 18), 5, cv2.LINE_AA)
        cv2.line(picture, (48, 54), (58, 68), (18, 18, 18), 5, cv2.LINE_AA)
    return _cut(picture, alpha), 0.75, 0.75


def _board(rng: Rng, colour: Colour, size: tuple[float, float]) -> tuple[Texture, float, float]:
    picture, alpha = _blank(colour)
    alpha[2:-2, 2:-2] = 255
    ink = (230, 232, 232) if sum(colour) < 380 else (30, 30, 34)
    cv2.rectangle(picture, (5, 5), (_SIDE - 6, _SIDE - 6), ink, 2, cv2.LINE_AA)
    for row in range(3):
        x = 14
        while x < 76:
            w = int(rng.integers(6, 14))
            y = 24 + 22 * row
            if rng.random() < 0.85:
                cv2.line(picture, (x, y), (x + w - 4, y), ink, 7, cv2.LINE_AA)
            x += w + 2
    return _cut(picture, alpha), size[0], size[1]


def _poster(rng: Rng) -> tuple[Texture, float, float]:
    colour = tuple(float(c) for c in rng.uniform(30, 230, 3))
    texture, _, _ = _board(rng, (colour[0], colour[1], colour[2]), (0.6, 1.0))
    return texture, 0.62, 1.05
