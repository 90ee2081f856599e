"""Names of recorded files: whose, and since when."""

from __future__ import annotations

import re
import time
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Recorded", "recorded", "segment_path"]

_STAMP = "%Y-%m-%dT%H-%M-%S"
_NAME = re.compile(
    r"(?P<source>.+)-(?P<stamp>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)(?:-\d+)?(?P<raw>-raw)?"
    r"(?:-interrupted-\d+)?\.mp4"
)


@dataclass(frozen=True, order=True)
class Recorded:
    """A file of ours.

    Attributes:
        began_wall_s: by `time.time()`.
        path: where it lies.
        source: whose it is.
        size_bytes: of the file.
    """

    began_wall_s: float
    path: Path
    source: str
    size_bytes: int


def segment_path(folder: Path, source: str, wall_s: float) -> Path:
    """A name that no file has, in local time: people look for it by the clock on the wall."""
    stamp = time.strftime(_STAMP, time.localtime(wall_s))
    number = 1
    while True:
        more = "" if number == 1 else f"-{number}"
        path = folder / f"{source}-{stamp}{more}.mp4"
        if not path.exists():
            return path
        number += 1


def recorded(folder: Path, sources: Collection[str]) -> list[Recorded]:
    """Finished recordings of these sources, oldest first; nothing else in the folder."""
    found = []
    try:
        entries = list(folder.iterdir())
    except FileNotFoundError:
        return []
    for path in entries:
        match = _NAME.fullmatch(path.name)
        if match is None or match["source"] not in sources or path.is_symlink():
            continue
        try:
            size = path.stat().st_size
            began = time.mktime(time.strptime(match["stamp"], _STAMP))
        except (OSError, ValueError, OverflowError):
            continue  # deleted meanwhile, or a name that only looks like ours
        found.append(Recorded(began, path, match["source"], size))
    return sorted(found)
