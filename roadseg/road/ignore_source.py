"""Ignore masks as a user gives them: a picture, polygons in a JSON file, or polygons in words.

    mask.png
    polygons.json:  {"polygons": [[[0, 1], [0.2, 0.9], [0.8, 0.9], [1, 1]]]}
    0,1 0.2,0.9 0.8,0.9 1,1; 0,0 0.3,0 0.3,0.05 0,0.05

Corners are x and y, fractions of the picture, or pixels where one of a polygon's is above 2.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from roadseg.core.errors import UsageError, os_reason
from roadseg.core.wording import option
from roadseg.road.areas import IgnoreMask, parse_points

_IN_WORDS = re.compile(r"[-+\d.,;\s]*\d,[-+\d.,;\s]*")
_EXAMPLE = '{"polygons": [[[0, 1], [0.5, 0.9], [1, 1]]]}'


def has_polygons(source: str | Path) -> bool:
    """Whether an ignore mask is given as polygons, rather than as a picture."""
    return str(source).lower().endswith(".json") or _IN_WORDS.fullmatch(str(source)) is not None


def read_ignore_mask(source: str | Path, picture_hw: tuple[int, int] | None = None) -> IgnoreMask:
    """The ignore mask that a user gives.

    >>> mask = read_ignore_mask("0,0.5 1,0.5 1,1 0,1; 0,0 0.5,0 0.5,0.5 0,0.5")
    >>> mask.counts((2, 2))
    array([[  0, 255],
           [  0,   0]], dtype=uint8)

    Args:
        source: a picture or a `.json` file, or polygons with `;` between them.
        picture_hw: size of the picture that pixels refer to.

    Raises:
        UsageError: it cannot be read, is none of these, or leaves nothing of the picture.
    """
    if not has_polygons(source):
        return IgnoreMask.from_png(source)
    text = str(source)
    texts = _json(Path(text)) if text.lower().endswith(".json") else text.split(";")
    named = enumerate(filter(str.strip, texts), 1)
    polygons = [_points(each, number, picture_hw) for number, each in named]
    if not polygons:
        raise UsageError(f"the ignore mask {text!r} has no polygon", fix=f"write {_EXAMPLE}")
    return IgnoreMask.from_polygons(polygons)


def _points(
    text: str, number: int, picture_hw: tuple[int, int] | None
) -> list[tuple[float, float]]:
    try:
        return parse_points(text, picture_hw)
    except UsageError as exc:
        raise UsageError(f"ignored area {number}: {exc.what}", fix=exc.fix) from exc


def _json(path: Path) -> list[str]:
    """The polygons of a file, in words."""
    try:
        value = json.loads(path.read_bytes())
    except OSError as exc:
        raise UsageError(
            f"cannot read the ignore mask {path}: {os_reason(exc)}",
            fix=f"give a PNG or polygons with {option('--ignore-mask')}",
        ) from exc
    except (ValueError, RecursionError) as exc:
        raise UsageError(f"the ignore mask {path} is no JSON", fix=f"write {_EXAMPLE}") from exc
    polygons = value.get("polygons") if isinstance(value, dict) else None
    if not isinstance(polygons, list) or not all(map(_is_polygon, polygons)):
        raise UsageError(f"the ignore mask {path} has no polygons", fix=f"write {_EXAMPLE}")
    return [" ".join(f"{float(x):.9f},{float(y):.9f}" for x, y in each) for each in polygons]


def _is_polygon(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(p, list) and len(p) == 2 and all(map(_is_number, p)) for p in value)


def _is_number(value: Any) -> bool:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_number and abs(value) < 1e9
