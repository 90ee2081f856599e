"""How label files write the ids of classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from roadseg.core.errors import DataError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.types import Labels


@dataclass(frozen=True)
class LabelCode:
    """How label files write the ids of classes.

    Attributes:
        classes: the classes.
        void: the stored ids that mean void.
        fix: what to do about any other id.
        first: the stored id of class 0.
    """

    classes: ClassSet
    void: tuple[int, ...]
    fix: str
    first: int = 0

    @property
    def ids(self) -> str:
        """The stored ids of the classes: `0..10`."""
        return f"{self.first}..{self.first + self.classes.num_classes - 1}"

    def decode(self, stored: Labels, name: str) -> Labels:
        """Stored ids, of any shape, to class ids; void becomes `classes.void_id`.

        Raises:
            DataError: an id names no class; the message starts with `name`.
        """
        table = np.full(256, -1, np.int16)
        table[self.first : self.first + self.classes.num_classes] = range(self.classes.num_classes)
        table[list(self.void)] = self.classes.void_id
        present = np.flatnonzero(np.bincount(stored.ravel(), minlength=256))
        unknown = present[table[present] < 0]
        if len(unknown):
            void = " or ".join(str(i) for i in self.void)
            raise DataError(
                f"{name} holds class id {unknown[-1]}: ids are {self.ids}, and {void} for void",
                fix=self.fix,
            )
        if (table[present] == present).all():
            return stored
        decoded: Labels = table.astype(np.uint8)[stored]
        return decoded


def plain_code(classes: ClassSet, fix: str, *, void: tuple[int, ...] = ()) -> LabelCode:
    """Class ids as they are, and the first behind them for void; `void` names further ids for it.

    `fix` is what to do about any other id.
    """
    return LabelCode(classes, tuple(dict.fromkeys((classes.void_id, *void))), fix)


CAMVID_CODE = plain_code(CAMVID, "convert the labels to the 11 CamVid classes first")
"""As in CamVid's label files: 0..10, and 11 for void."""
