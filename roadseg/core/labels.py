"""Classes: ids, names and colours; CamVid's 11 of the SegNet paper, SUN RGB-D's 37, or your own.

CamVid's are what roadseg ships weights for, and the default everywhere; `CLASS_NAMES`,
`NUM_CLASSES`, `VOID_ID` and `PALETTES` are theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError
from roadseg.core.wording import option

__all__ = [
    "CAMVID",
    "CLASS_NAMES",
    "DEFAULT_PALETTE",
    "MAX_CLASSES",
    "NUM_CLASSES",
    "PALETTES",
    "RGB",
    "SUNRGBD",
    "VOID_ID",
    "ClassSet",
    "class_id",
    "css_colours",
    "distinct_colours",
    "known_class_set",
    "palette_bgr",
]

RGB = tuple[int, int, int]
"""Red, green, blue, 0..255."""

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

# CamVid's own colours: those of its label pictures and of files that carry class colours along.
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

# Searched for, near the colours one expects, so that people, bicyclists, cars and signs are vivid
# and everything around them is calm. Any of those four is 26 apart in CIEDE2000 from whatever it is
# seen against, and 18 under protanopia, deuteranopia and tritanopia (Machado et al. 2009, severity
# 1); half over real frames still 15 and 10. In the CamVid palette that is 14 and 3, and 7 and 1.
# tests/core/test_palettes.py measures it.
_STREET_RGB = (
    (152, 182, 255),
    (143, 131, 153),
    (206, 254, 213),
    (45, 35, 90),
    (191, 200, 196),
    (55, 166, 124),
    (255, 252, 0),
    (126, 74, 116),
    (34, 91, 255),
    (234, 22, 42),
    (248, 175, 11),
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


def _as_bgr(rgb: tuple[RGB, ...]) -> npt.NDArray[np.uint8]:
    table = np.array(rgb, dtype=np.uint8)[:, ::-1].copy()
    table.flags.writeable = False
    return table


MAX_CLASSES = 254
"""Of 256 ids one is void's, and 255 means void in many label files."""

_VOID_RGB = (0, 0, 0)


@dataclass(frozen=True)
class ClassSet:
    """The classes that a data set is labelled with and a network tells apart.

    >>> CAMVID.num_classes, CAMVID.void_id, CAMVID.names[3], CAMVID.colours_rgb[3]
    (11, 11, 'road', (128, 64, 128))

    Attributes:
        name: what people call it.
        names: names by class id.
        colours_rgb: colours by class id; void is black.

    Raises:
        ValueError: no classes, too many, names that are not unique, or not a colour for each.
    """

    name: str
    names: tuple[str, ...]
    colours_rgb: tuple[RGB, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.names) <= MAX_CLASSES:
            raise ValueError(f"expected 1..{MAX_CLASSES} classes, got {len(self.names)}")
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"expected unique names, got {', '.join(self.names)}")
        if len(self.colours_rgb) != len(self.names):
            raise ValueError(
                f"expected {len(self.names)} colours, got {len(self.colours_rgb)}: one per class"
            )

    @property
    def num_classes(self) -> int:
        """How many classes there are, void not counted."""
        return len(self.names)

    @property
    def void_id(self) -> int:
        """The id of unlabelled pixels: the first behind the classes."""
        return len(self.names)

    @property
    def palette_bgr(self) -> npt.NDArray[np.uint8]:
        """(num_classes + 1, 3) uint8 BGR, read-only, row = class id, the last row is void."""
        return _as_bgr((*self.colours_rgb, _VOID_RGB))

    def same_classes(self, other: ClassSet) -> bool:
        """Whether ids mean the same in both; colours do not matter."""
        return self.names == other.names

    @property
    def brief(self) -> str:
        """Number and names: `11 classes (sky, building, pole, ...)`."""
        return f"{self._count} ({self._shown})"

    def __str__(self) -> str:
        """In words, for messages."""
        return f"the {self._count} of {self.name} ({self._shown})"

    @property
    def _count(self) -> str:
        return "1 class" if len(self.names) == 1 else f"{len(self.names)} classes"

    @property
    def _shown(self) -> str:
        return ", ".join(self.names if len(self.names) <= 4 else (*self.names[:3], "..."))


_CALM_COLOURS = 20
_CALM_LIGHTNESS = (40, 85)
_CALM_CHROMA = 50


def distinct_colours(count: int) -> tuple[RGB, ...]:
    """Colours for classes that bring none, always the same ones in the same order.

    The first is a steel blue; each further one is the colour of a 17x17x17 grid that lies farthest
    in CIELAB from those before it, and from black, which is void's. The first 20 are calm, so that
    the frame shows through, and 26 apart at least. Behind them vivid and dark ones join, since so
    many calm ones would look alike: 37 are 26 apart, and all 254 still 13.
    """
    steps = np.linspace(0, 255, 17).round().astype(np.uint8)
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
    places = _cielab(grid)
    lightness, chroma = places[:, 0], np.hypot(places[:, 1], places[:, 2])
    calm = (chroma <= _CALM_CHROMA) & (lightness >= _CALM_LIGHTNESS[0])
    calm &= lightness <= _CALM_LIGHTNESS[1]
    distance = np.linalg.norm(places - _cielab(np.zeros((1, 3), np.uint8)), axis=1)
    at = int(np.flatnonzero((grid == (64, 128, 175)).all(axis=1))[0])
    chosen: list[int] = []
    while len(chosen) < count:
        if chosen:
            at = int(np.where(calm | (len(chosen) >= _CALM_COLOURS), distance, -1).argmax())
        chosen.append(at)
        distance = np.minimum(distance, np.linalg.norm(places - places[at], axis=1))
    return tuple((int(r), int(g), int(b)) for r, g, b in grid[chosen])


def _cielab(rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """(N, 3) uint8 sRGB to (N, 3) L*a*b* under D65."""
    srgb = rgb / 255.0
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [
            [0.4124564, 0.3575761, 0.1804375],
            [0.2126729, 0.7151522, 0.0721750],
            [0.0193339, 0.1191920, 0.9503041],
        ]
    )
    xyz = linear @ to_xyz.T / (0.95047, 1.0, 1.08883)
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack(
        [116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1
    )


CAMVID = ClassSet("CamVid", CLASS_NAMES, _CAMVID_RGB[:NUM_CLASSES])
"""The classes of the weights that ship."""

_SUNRGBD_NAMES = (
    *("wall", "floor", "cabinet", "bed", "chair", "sofa", "table", "door", "window", "bookshelf"),
    *("picture", "counter", "blinds", "desk", "shelves", "curtain", "dresser", "pillow", "mirror"),
    *("floor_mat", "clothes", "ceiling", "books", "fridge", "tv", "paper", "towel"),
    *("shower_curtain", "box", "whiteboard", "person", "night_stand", "toilet", "sink", "lamp"),
    *("bathtub", "bag"),
)

SUNRGBD = ClassSet("SUN RGB-D", _SUNRGBD_NAMES, distinct_colours(len(_SUNRGBD_NAMES)))
"""SUN RGB-D's 37 classes, in the order of the toolbox's `seg37list.mat`."""


def known_class_set(
    names: tuple[str, ...],
    colours_rgb: tuple[RGB, ...] | None = None,
    name: str = "its own data set",
) -> ClassSet:
    """The set with these names: CamVid's, SUN RGB-D's, or one of your own.

    Args:
        names: names by class id.
        colours_rgb: their colours; without them, or with one too many, which is void's, as files
            store them, what is missing is filled in.
        name: what to call a set of your own.

    Raises:
        ValueError: see `ClassSet`.
    """
    for known in (CAMVID, SUNRGBD):
        if names == known.names:
            return known
    if colours_rgb is None:
        colours_rgb = distinct_colours(len(names))
    return ClassSet(name, names, colours_rgb[: len(names)])


def stored_class_set(
    names: object, colours_rgb: object, name: str = "its own data set"
) -> ClassSet:
    """`known_class_set` of plain values, as a file holds them, whatever they are.

    Args:
        names: a list of names by class id.
        colours_rgb: a list of their colours, three whole numbers each; None or empty for none.
        name: what to call a set of your own.

    Raises:
        ValueError: they are none of that; see `ClassSet`, too.
    """
    if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
        raise ValueError("expected a list of names")
    colours = None
    if colours_rgb:
        if not isinstance(colours_rgb, (list, tuple)) or not all(map(_is_rgb, colours_rgb)):
            raise ValueError("expected colours of three whole numbers from 0 to 255")
        colours = tuple((int(r), int(g), int(b)) for r, g, b in colours_rgb)
    return known_class_set(tuple(names), colours, name)


def _is_rgb(value: object) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == 3
        and all(isinstance(part, int) and 0 <= part <= 255 for part in value)
    )


DEFAULT_PALETTE = "street"
"""The palette of pictures that people look at, unless they choose another."""

PALETTES: Mapping[str, npt.NDArray[np.uint8]] = MappingProxyType(
    {
        DEFAULT_PALETTE: _as_bgr(_STREET_RGB),
        "colorblind": _as_bgr(_COLORBLIND_RGB),
        "camvid": _as_bgr(_CAMVID_RGB),
    }
)
"""Palettes by name: (12, 3) uint8 BGR, row = class id, the last row is void.

`street` shows best what matters most; `colorblind` keeps all classes equally apart; `camvid` has
the colours of the data set and of the SegNet paper.
"""


def css_colours(names: Sequence[str]) -> list[str]:
    """Colours of classes for a page: those of the default palette, others for names that it lacks.

    >>> css_colours(["car", "llama"])
    ['rgb(34, 91, 255)', 'rgb(64, 128, 175)']
    """
    palette, others = palette_bgr(), iter(distinct_colours(len(names)))
    colours = []
    for name in names:
        if name in CLASS_NAMES:
            blue, green, red = palette[CLASS_NAMES.index(name)].tolist()
        else:
            red, green, blue = next(others)
        colours.append(f"rgb({red}, {green}, {blue})")
    return colours


def palette_bgr(name: str = DEFAULT_PALETTE, classes: ClassSet = CAMVID) -> npt.NDArray[np.uint8]:
    """The palette called `name`: (num_classes + 1, 3) uint8 BGR, read-only, void last.

    Classes other than CamVid's have the colours of their own set, whatever the default's name.

    Raises:
        UsageError: no palette has that name, or it is not for these classes.
    """
    if name not in PALETTES:
        raise UsageError(f"unknown palette {name!r}", fix=f"use {option('--palette', *PALETTES)}")
    if classes.same_classes(CAMVID):
        return PALETTES[name]
    if name != DEFAULT_PALETTE:
        raise UsageError(
            f"palette {name!r} has colours for CamVid's classes only, and the model knows "
            f"{classes}",
            fix=f"leave {option('--palette')} out",
        )
    return classes.palette_bgr


def class_id(name: str) -> int:
    """The id of the class called `name`.

    Raises:
        UsageError: no class has that name.
    """
    try:
        return CLASS_NAMES.index(name)
    except ValueError:
        raise UsageError(
            f"unknown class {name!r}", fix=f"use one of {', '.join(CLASS_NAMES)}"
        ) from None
