"""Names for what a label map shows: classes, and groups of classes."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.errors import UsageError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Labels
from roadseg.core.wording import option

GROUPS: dict[str, tuple[str, ...]] = {
    "people": ("pedestrian", "bicyclist", "person", "rider"),
    "vehicles": ("car", "truck", "bus", "train", "motorcycle", "bicycle"),
    "traffic": ("people", "vehicles"),
    "ground": ("road", "pavement", "sidewalk"),
    "standing": (
        *("building", "wall", "fence", "pole", "tree", "vegetation"),
        *("sign", "traffic light", "traffic sign"),
    ),
    "obstacle": ("traffic", "standing"),
}
"""Groups by name, of the classes that the model knows among those listed; groups may hold groups.

The names are CamVid's and Cityscapes'. A class of the same name goes before a group.
"""


def parse_group(text: str) -> tuple[str, tuple[str, ...]]:
    """The name of a group, and those of the classes and groups that it holds.

    >>> parse_group("road = track, lane")
    ('road', ('track', 'lane'))

    Raises:
        UsageError: it is not `NAME=CLASS,...`.
    """
    name, equals, members = (part.strip() for part in text.partition("="))
    parts = tuple(part.strip() for part in members.split(","))
    if not equals or not name or not all(parts):
        raise UsageError(
            f"cannot read the group {text!r}",
            fix="write NAME=CLASS,CLASS, such as road=track",
        )
    return name, parts


class Vocabulary:
    """What the names in rules and read-outs mean in the label maps of one model.

    >>> words = Vocabulary()
    >>> words.ids("people"), words.ids("road")
    ((9, 10), (3,))
    >>> farm = ClassSet("the farm", ("track", "field"), ((90, 60, 30), (60, 140, 40)))
    >>> Vocabulary(farm, groups="road=track").ids("road")
    (0,)

    Args:
        classes: the classes of the label maps.
        groups: names of your own, `NAME=CLASS,CLASS,...`, one string or several. They go before
            the groups of `GROUPS`, and name what a model calls otherwise: `road=track`. Groups
            of `GROUPS` that hold such a name have its classes as well: with `people=human` a
            human is an `obstacle`.

    Attributes:
        classes: as given.
        names: every name that means something here: classes first, then groups.

    Raises:
        UsageError: a group that is not `NAME=CLASS,...`, or holds a class that is not there.
    """

    def __init__(self, classes: ClassSet = CAMVID, groups: str | Iterable[str] = ()) -> None:
        self.classes = classes
        self._ids: dict[str, tuple[int, ...]] = {name: (i,) for i, name in enumerate(classes.names)}
        self._fixed = set(classes.names)
        self._fill_groups()
        for text in [groups] if isinstance(groups, str) else groups:
            self._add(text)
            self._fill_groups()
        self._tables: dict[tuple[int, ...], npt.NDArray[np.uint8]] = {}

    def _fill_groups(self) -> None:
        """Give the groups of `GROUPS` what their members mean by now.

        What a group had it keeps: where `people` is narrowed to pedestrians, somebody on a bicycle
        is an obstacle still.
        """
        for name, members in GROUPS.items():
            ids = {i for each in (name, *members) for i in self._ids.get(each, ())}
            if ids and name not in self._fixed:
                self._ids[name] = tuple(sorted(ids))

    def _add(self, text: str) -> None:
        name, parts = parse_group(text)
        self._ids[name] = tuple(sorted({i for part in parts for i in self.ids(part)}))
        self._fixed.add(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name that means something here."""
        return tuple(self._ids)

    def ids(self, name: str) -> tuple[int, ...]:
        """The class ids that a name stands for, in rising order.

        Raises:
            UsageError: the name means nothing here; the message has the nearest ones, or says how
                to map a group of `GROUPS`, or `road`, that these classes lack.
        """
        if name in self._ids:
            return self._ids[name]
        raise UsageError(*self.unknown(name))

    def unknown(self, name: str) -> tuple[str, str]:
        """What is wrong with a name that means nothing here, and the fix."""
        what = f"unknown class or group {name!r}"
        close = difflib.get_close_matches(name, self.names, n=2, cutoff=0.6)
        if close:
            return what, f"use {' or '.join(close)}"
        if name in CAMVID.names or name in GROUPS or any(name in g for g in GROUPS.values()):
            return (
                f"{self.classes} have none called {name!r}",
                "say which of them it is with "
                + option("--group", f"{name}=CLASS,...", parameter="groups"),
            )
        return what, f"use one of {', '.join(self.names)}"

    def table(self, ids: Sequence[int]) -> npt.NDArray[np.uint8]:
        """(256,) uint8 for `cv2.LUT`: 255 at these ids, else 0; kept, so do not write into it."""
        key = tuple(ids)
        if key not in self._tables:
            table = np.zeros(256, np.uint8)
            table[list(key)] = 255
            self._tables[key] = table
        return self._tables[key]

    def mask(self, labels: Labels, name: str) -> npt.NDArray[np.uint8]:
        """Where a label map shows what a name stands for.

        Args:
            labels: (h, w) uint8 class ids.
            name: a class or a group.

        Returns:
            (h, w) uint8, 255 there, else 0.

        >>> Vocabulary().mask(np.array([[0, 3, 9]], np.uint8), "people")
        array([[  0,   0, 255]], dtype=uint8)
        """
        check_labels(labels)
        found: npt.NDArray[np.uint8] = cv2.LUT(labels, self.table(self.ids(name)))
        return found


def check_labels(labels: Labels) -> None:
    """Refuse what is no label map.

    Raises:
        ValueError: not (h, w) uint8 with at least one pixel.
    """
    if labels.ndim != 2 or labels.dtype != np.uint8 or not labels.size:
        raise ValueError(f"expected (h, w) uint8 labels, got {labels.shape} {labels.dtype}")
