"""What the results of picture files are called: like the pictures, and never two the same."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

# What file systems take, less the suffix that the name gets.
_LONGEST_BYTES = 255 - len(".png")


def result_names(paths: Sequence[Path]) -> list[str]:
    """Names without suffix, one for each path, of which no two are the same on any system.

    The first of several equal names keeps it, the others are numbered. Names that differ only in
    case, or in how their accents are stored, are equal: on Windows and macOS they are one file.

    >>> result_names([Path("Cam1.jpg"), Path("a.jpg"), Path("a.png"), Path("b/A.png")])
    ['Cam1', 'a', 'a-2', 'A-3']
    """
    stems = [path.stem for path in paths]
    taken = {_key(stem) for stem in stems}
    seen: dict[str, int] = {}
    names = []
    for stem in stems:
        key = _key(stem)
        number = seen.get(key, 0) + 1
        name = stem
        while number > 1 and _key(name := _numbered(stem, number)) in taken:
            number += 1
        seen[key] = number
        taken.add(_key(name))
        names.append(name)
    return names


def _numbered(stem: str, number: int) -> str:
    ending = f"-{number}"
    while len(os.fsencode(stem + ending)) > _LONGEST_BYTES:
        stem = stem[:-1]
    return stem + ending


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
