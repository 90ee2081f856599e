"""What the names say that dashcams and action cameras give their clips."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

# 20250101_120000, 2025_0101_120000, 2025-01-01_12-00-00, 250101-120000, 20250101120000
_STAMP = re.compile(
    r"(?<!\d)(?P<year>20\d\d|\d\d)[-_.]?(?P<month>\d\d)[-_.]?(?P<day>\d\d)[-_. T]{0,2}"
    r"(?P<hour>\d\d)[-_.]?(?P<minute>\d\d)[-_.]?(?P<second>\d\d)(?!\d)"
)

# GH010123 is chapter 1 of recording 0123; older cameras: GOPR0123, then GP010123.
_GOPRO = re.compile(r"G(?P<kind>H|X|P)(?P<chapter>\d\d)(?P<recording>\d{4})", re.IGNORECASE)
_GOPRO_FIRST = re.compile(r"GOPR(?P<recording>\d{4})", re.IGNORECASE)

# 20250101_120000_NF: normal, event and manual clips of the front camera follow each other.
_BLACKVUE = re.compile(r"_[NEM](?P<camera>[FRIO])", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ClipName:
    """What a clip's name says.

    Attributes:
        camera: the same for all clips that one camera writes into one folder. Front and rear
            differ, and so do normal recordings and the copies of events (`NO...` and `EV...`).
        begins: when the recording began, by the camera's clock; None if the name does not say.
        chapter: counts the files that one recording was cut into; None without chapters. The
            recording is then part of `camera`.
    """

    camera: str
    begins: datetime | None = None
    chapter: int | None = None


def read_clip_name(path: str) -> ClipName:
    """Read the name of a clip.

    >>> read_clip_name("card/NO20250101-120000-000001F.MP4")
    ClipName(camera='card/no*f.mp4', begins=datetime.datetime(2025, 1, 1, 12, 0), chapter=None)
    >>> read_clip_name("GH020123.MP4").chapter
    2

    Args:
        path: of the clip; clips in other folders are another camera's.
    """
    place = PurePath(path)
    stem = place.stem

    def camera(name: str) -> str:
        return str(place.parent / f"{name}{place.suffix}").casefold()

    gopro = _GOPRO.fullmatch(stem)
    if gopro is not None:
        return ClipName(
            camera(f"g{gopro['kind']}{gopro['recording']}"), chapter=int(gopro["chapter"])
        )
    first = _GOPRO_FIRST.fullmatch(stem)
    if first is not None:
        return ClipName(camera(f"gp{first['recording']}"), chapter=0)
    for stamp in _STAMP.finditer(stem):
        begins = _date(stamp)
        if begins is None:
            continue
        before, after = stem[: stamp.start()], stem[stamp.end() :]
        blackvue = _BLACKVUE.fullmatch(after)
        if blackvue is not None:
            after = blackvue["camera"]
        return ClipName(camera(f"{_letters(before)}*{_letters(after)}"), begins)
    return ClipName(camera(re.sub(r"\d+", "*", stem)))


def _date(stamp: re.Match[str]) -> datetime | None:
    year, month, day, hour, minute, second = (int(each) for each in stamp.groups())
    try:
        return datetime(year if year > 99 else 2000 + year, month, day, hour, minute, second)
    except ValueError:
        return None


def _letters(text: str) -> str:
    """Without running numbers and what separates them: `-000001F` is `F`."""
    return re.sub(r"[-_. ]*\d+", "", text).strip("-_. ")
