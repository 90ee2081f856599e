"""The kinds of corruption by name, and one frame corrupted."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np

from roadseg.core.errors import UsageError
from roadseg.core.types import Image, Labels
from roadseg.core.wording import option
from roadseg.evaluation.corruptions import blur, digital, noise, weather

SEVERITIES = (1, 3, 5)
"""Of the five, those that are measured by default."""

_HIGHEST = 5

_Change: TypeAlias = Callable[[Image, int, np.random.Generator], Image]


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of corruption.

    Attributes:
        name: as on the command line.
        family: `noise`, `blur`, `weather` or `digital`.
        apply: changes (H, W, 3) uint8 BGR by a severity of 1 to 5; None where pixels move, and
            the labels with them.
    """

    name: str
    family: str
    apply: _Change | None


_FAMILIES: dict[str, dict[str, _Change | None]] = {
    "noise": {
        "gaussian-noise": noise.gaussian_noise,
        "shot-noise": noise.shot_noise,
        "impulse-noise": noise.impulse_noise,
    },
    "blur": {
        "defocus-blur": blur.defocus_blur,
        "glass-blur": blur.glass_blur,
        "motion-blur": blur.motion_blur,
        "zoom-blur": blur.zoom_blur,
    },
    "weather": {
        "snow": weather.snow,
        "frost": weather.frost,
        "fog": weather.fog,
        "brightness": weather.brightness,
    },
    "digital": {
        "contrast": digital.contrast,
        "elastic": None,
        "pixelate": digital.pixelate,
        "jpeg": digital.jpeg,
    },
}

KINDS = {
    name: Kind(name, family, apply)
    for family, kinds in _FAMILIES.items()
    for name, apply in kinds.items()
}
"""All fifteen, in the paper's order."""


def corrupt(
    image_bgr: Image, ids: Labels, kind: str, severity: int, seed: int, void_id: int
) -> tuple[Image, Labels]:
    """A labelled frame, corrupted; the same arguments give the same pixels.

    Args:
        image_bgr: (H, W, 3) uint8 BGR; left as it is.
        ids: (H, W) uint8 class ids; left as they are.
        kind: a name of `KINDS`.
        severity: 1 to 5.
        seed: of the randomness; the frame's index, so that frames differ.
        void_id: of pixels that come from outside the frame.

    Returns:
        (H, W, 3) uint8 BGR and (H, W) uint8 ids.
    """
    rng = np.random.default_rng([seed, list(KINDS).index(kind), severity])
    apply = KINDS[kind].apply
    if apply is not None:
        return apply(image_bgr, severity, rng), ids
    height, width = ids.shape
    x, y = digital.elastic_map((height, width), severity, rng)
    warped = cv2.remap(image_bgr, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    moved = cv2.remap(
        ids, x, y, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(void_id,)
    )
    return warped, moved


def check_kinds(names: Sequence[str]) -> tuple[str, ...]:
    """The kinds of these names, each once, in the order of `KINDS`; all of them for none.

    Raises:
        UsageError: there is no such kind.
    """
    for name in names:
        if name not in KINDS:
            near = difflib.get_close_matches(name, KINDS, n=1, cutoff=0)
            raise UsageError(
                f"unknown corruption {name!r}",
                fix=f"use {option('--kind', near[0])}, or another of {', '.join(KINDS)}",
            )
    return tuple(kind for kind in KINDS if kind in names or not names)


def check_severities(severities: Sequence[int]) -> tuple[int, ...]:
    """These severities, each once, the mildest first; those of `SEVERITIES` for none.

    Raises:
        UsageError: one is not from 1 to 5.
    """
    for severity in severities:
        if not 1 <= severity <= _HIGHEST:
            raise UsageError(
                f"no severity {severity}", fix=f"use {option('--severity')} from 1 to {_HIGHEST}"
            )
    return tuple(sorted(set(severities))) or SEVERITIES
