"""Reading which classes a data set has.

`classes.txt` has one class per line, in the order of the ids in the labels, with or without a
colour; `#` starts a comment:

    road 128 64 128
    verge 107 142 35    # red, green, blue
    car

`classes.json` says the same, names and, or not, colours:

    {"classes": ["road", "verge"], "palette_rgb": [[128, 64, 128], [107, 142, 35]]}

Classes without a colour get one that is easy to tell from the others.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roadseg.core.errors import DataError, unreadable
from roadseg.core.labels import MAX_CLASSES, RGB, ClassSet, distinct_colours

CLASS_FILES = ("classes.txt", "classes.json")
"""Names under which a data set's class file is found."""


def read_class_file(path: Path) -> ClassSet:
    """The classes of a data set, named after the folder that the file is in.

    Raises:
        DataError: the file is missing, damaged, or names no classes, too many, or one twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(DataError, path, exc) from exc
    rows = _from_json(path, text) if path.suffix.lower() == ".json" else _from_lines(path, text)
    if not rows:
        raise DataError(
            f"{path} names no classes", fix="write one per line, such as 'road 128 64 128'"
        )
    if len(rows) > MAX_CLASSES:
        raise DataError(
            f"{path} names {len(rows)} classes",
            fix=f"leave {MAX_CLASSES}, which is what fits into the 8 bits of a label",
        )
    names = tuple(name for name, _ in rows)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} names {twice!r} twice", fix="give every class one line")
    return ClassSet(path.resolve().parent.name, names, _colours([colour for _, colour in rows]))


def _colours(given: list[RGB | None]) -> tuple[RGB, ...]:
    taken = {colour for colour in given if colour is not None}
    free = iter(c for c in distinct_colours(len(given) + len(taken)) if c not in taken)
    return tuple(next(free) if colour is None else colour for colour in given)


def _from_lines(path: Path, text: str) -> list[tuple[str, RGB | None]]:
    rows: list[tuple[str, RGB | None]] = []
    for number, line in enumerate(text.splitlines(), start=1):
        fields = line.partition("#")[0].split()
        if not fields:
            continue
        name, *values = fields
        colour = _rgb(values)
        if values and colour is None:
            raise DataError(
                f"{path} line {number} does not name a class: {' '.join(fields)!r}",
                fix="write 'name' or 'name red green blue' (0..255, no spaces in the name)",
            )
        rows.append((name, colour))
    return rows


def _from_json(path: Path, text: str) -> list[tuple[str, RGB | None]]:
    form = '{"classes": ["road", ...], "palette_rgb": [[128, 64, 128], ...]}'
    try:
        content: dict[str, Any] = json.loads(text)
        names, colours = content["classes"], content.get("palette_rgb")
        if not isinstance(names, list) or not isinstance(colours, (list, type(None))):
            raise TypeError("not a list")
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise DataError(f"{path} is not a class file", fix=f"write {form}") from exc
    if colours is None:
        colours = [None] * len(names)
    rows = []
    for name, value in zip(names, colours, strict=False):
        colour = None if value is None else _rgb(value)
        good = isinstance(name, str) and name and (value is None or colour is not None)
        if not good:
            raise DataError(f"{path} has {name!r} with the colour {value!r}", fix=f"write {form}")
        rows.append((name, colour))
    if len(rows) != len(names):
        raise DataError(
            f"{path} has {len(names)} classes and {len(colours)} colours", fix="give as many"
        )
    return rows


def _rgb(values: list[Any]) -> RGB | None:
    """A colour of three numbers or digits; None if it is none."""
    if not isinstance(values, list) or len(values) != 3:
        return None
    if not all(str(v).isascii() and str(v).isdigit() and int(v) <= 255 for v in values):
        return None
    red, green, blue = (int(v) for v in values)
    return red, green, blue
