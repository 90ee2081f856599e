"""The 11 CamVid classes of the SegNet paper: ids, names, palettes and class weights."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from roadseg.errors import UsageError

__all__ = ["CLASS_NAMES", "NUM_CLASSES", "PALETTES", "VOID_ID", "class_id", "palette_bgr"]

CLASS_NAMES: tuple[str, ...] = (
    "sky",
    "building",
    "pole",
    "road",
    "pavement",
    "tree",
    "sign",
    "fence",
    "car",
    "pedestrian",
    "bicyclist",
)
"""Names by id, in the order of the SegNet authors' label files."""

NUM_CLASSES = len(CLASS_NAMES)

VOID_ID = 11
"""Unlabelled pixels: never predicted, ignored by losses and metrics."""

_CAMVID_RGB = (
    (128, 128, 128),
    (128, 0, 0),
    (192, 192, 128),
    (128, 64, 128),
    (60, 40, 222),
    (128, 128, 0),
    (192, 128, 128),
    (64, 64, 128),
    (64, 0, 128),
    (64, 64, 0),
    (0, 128, 192),
    (0, 0, 0),
)

# Searched for, near the colours one expects: any two classes are at least 25 apart in CIELAB under
# protanopia, deuteranopia and tritanopia (Machado et al. 2009, severity 1), and 40 without; in the
# CamVid palette the closest two are 6 apart under deuteranopia.
_COLORBLIND_RGB = (
    (95, 165, 255),
    (145, 154, 105),
    (255, 218, 40),
    (33, 15, 114),
    (217, 138, 185),
    (7, 102, 103),
    (255, 255, 255),
    (80, 40, 30),
    (75, 60, 255),
    (180, 25, 7),
    (222, 126, 8),
    (0, 0, 0),
)


def _as_bgr(rgb: tuple[tuple[int, int, int], ...]) -> npt.NDArray[np.uint8]:
    table = np.array(rgb, dtype=np.uint8)[:, ::-1].copy()
    table.flags.writeable = False
    return table


PALETTES: Mapping[str, npt.NDArray[np.uint8]] = MappingProxyType(
    {"camvid": _as_bgr(_CAMVID_RGB), "colorblind": _as_bgr(_COLORBLIND_RGB)}
)
"""Palettes by name: (12, 3) uint8 BGR, row = class id, the last row is void."""


def palette_bgr(name: str) -> npt.NDArray[np.uint8]:
    """The palette called `name`: (12, 3) uint8 BGR, read-only.

    Raises:
        UsageError: no palette has that name.
    """
    try:
        return PALETTES[name]
    except KeyError:
        raise UsageError(f"unknown palette {name!r}: use --palette {'|'.join(PALETTES)}") from None


def class_id(name: str) -> int:
    """The id of the class called `name`.

    Raises:
        UsageError: no class has that name.
    """
    try:
        return CLASS_NAMES.index(name)
    except ValueError:
        raise UsageError(
            f"unknown class {name!r}: the classes are {', '.join(CLASS_NAMES)}"
        ) from None
