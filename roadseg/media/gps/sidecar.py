"""The track in a file beside a clip: GPX, or the sentences that receivers speak (NMEA 0183)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from functools import reduce
from operator import xor
from pathlib import Path
from xml.etree import ElementTree

from roadseg.core.errors import SourceError, unreadable
from roadseg.media.gps.track import Fix

_SUFFIXES = (".gpx", ".nmea", ".gps", ".GPX", ".NMEA", ".GPS")
_DAY_S = 86_400.0

# Recorders put times of their own around a sentence: `[1623057074211]$GPRMC,...*41[1623057075215]`.
_SENTENCE = re.compile(
    r"\$(?P<body>[A-Z]{2}(?P<kind>RMC|GGA),[^*$\r\n]*)(?:\*(?P<sum>[0-9A-F]{2}))?"
)


def sidecar_of(clip: Path) -> Path | None:
    """The file beside a clip that has its track: `a.gpx`, `a.nmea` or `a.gps` of `a.mp4`."""
    files = (clip.with_suffix(suffix) for suffix in _SUFFIXES)
    return next((file for file in files if file.is_file()), None)


def read_sidecar(path: Path) -> list[Fix]:
    """The fixes in a file, in order; those that the receiver itself calls invalid are left out.

    Raises:
        SourceError: it cannot be read, or is not GPX.
    """
    try:
        if path.suffix.lower() == ".gpx":
            return list(_gpx(path))
        return list(nmea(path.read_text(encoding="ascii", errors="replace").splitlines()))
    except OSError as exc:
        raise unreadable(SourceError, path, exc) from exc
    except (ElementTree.ParseError, ValueError) as exc:
        raise SourceError(f"{path} is not GPX ({exc})", fix="replace or remove it") from exc


def nmea(lines: Iterable[str]) -> Iterator[Fix]:
    """The fixes in lines of NMEA 0183; what is garbled is passed over.

    >>> (fix,) = nmea(["$GPRMC,120000.00,A,4807.038,N,01131.000,E,22.4,084.4,010125,,,A"])
    >>> round(fix.lat_deg, 4), round(fix.lon_deg, 4), fix.time_s
    (48.1173, 11.5167, 43200.0)
    """
    last_s = 0.0
    for line in lines:
        for sentence in _SENTENCE.finditer(line):
            stated = sentence["sum"]
            if stated is not None and int(stated, 16) != reduce(xor, sentence["body"].encode()):
                continue
            fix = _fix(sentence["kind"], sentence["body"].split(","))
            if fix is None or fix.time_s is None:
                continue
            # Sentences have the time of the day.
            time_s = fix.time_s + last_s // _DAY_S * _DAY_S
            if time_s < last_s - _DAY_S / 2:
                time_s += _DAY_S
            last_s = time_s
            yield Fix(fix.lat_deg, fix.lon_deg, time_s)


def _fix(kind: str, fields: list[str]) -> Fix | None:
    """Of one sentence; None where there was none, or where it is garbled."""
    try:
        if kind == "RMC":
            clock, is_valid, place = fields[1], fields[2] == "A", fields[3:7]
        else:
            clock, is_valid, place = fields[1], int(fields[6]) > 0, fields[2:6]
        if not is_valid:
            return None
        time_s = int(clock[:2]) * 3600 + int(clock[2:4]) * 60 + float(clock[4:])
        lat_deg, lon_deg = _degrees(place[0]), _degrees(place[2])
    except (ValueError, IndexError):
        return None
    return Fix(
        -lat_deg if place[1] == "S" else lat_deg, -lon_deg if place[3] == "W" else lon_deg, time_s
    )


def _degrees(text: str) -> float:
    """Degrees and minutes in one number: `4807.038` is 48 degrees and 7.038 minutes."""
    degrees, minutes = divmod(float(text), 100)
    return degrees + minutes / 60


def _gpx(path: Path) -> Iterator[Fix]:
    """The points of all tracks of a GPX file."""
    for _event, element in ElementTree.iterparse(path):
        if element.tag.rpartition("}")[2] != "trkpt":
            continue
        time = next((each.text for each in element if each.tag.endswith("time")), None)
        yield Fix(float(element.get("lat", "")), float(element.get("lon", "")), _seconds(time))
        element.clear()


def _seconds(stated: str | None) -> float | None:
    if not stated:
        return None
    # Python 3.10 reads neither `Z` nor tenths of a second, and those do not matter.
    text = re.sub(r"\.\d+", "", stated.strip()).replace("Z", "+00:00")
    return datetime.fromisoformat(text).timestamp()
