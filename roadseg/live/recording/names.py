"""Names of recorded files: whose, and since when."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_STAMP = "%Y-%m-%dT%H-%M-%S"
_NAME = re.compile(
    r"(?P<source>.+)-(?P<stamp>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)(?:-(?P<number>\d+))?"
    r"(?:-raw)?(?:-interrupted-\d+)?\.mp4"
)


@dataclass(frozen=True, order=True)
class Recorded:
    """A file of ours.

    Attributes:
        began_wall_s: by `time.time()`.
        number: of the files that began in one second, from 1.
        path: where it lies.
        source: whose it is.
        size_bytes: of the file.
    """

    began_wall_s: float
    number: int
    path: Path
    source: str
    size_bytes: int


def segment_paths(folder: Path, source: str, wall_s: float) -> Iterator[Path]:
    """Names for a file, of which the first one that is free is to be taken; in local time, since
    people look for it by the clock on the wall."""
    stamp = time.strftime(_STAMP, time.localtime(wall_s))
    yield folder / f"{source}-{stamp}.mp4"
    for number in itertools.count(2):
        yield folder / f"{source}-{stamp}-{number}.mp4"


def recorded(folder: Path, sources: Collection[str]) -> list[Recorded]:
    """Finished recordings of these sources, oldest first; nothing else in the folder. No file where
    it cannot be read: whoever writes there says so."""
    found = []
    try:
        entries = list(folder.iterdir())
    except OSError:
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
        found.append(Recorded(began, int(match["number"] or 1), path, match["source"], size))
    return sorted(found)
