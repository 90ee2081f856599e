"""Timelines read back: whatever `Timeline` writes, also what a cut or damaged run left of it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roadseg.core.errors import SourceError, UsageError, unreadable
from roadseg.core.installing import require
from roadseg.core.wording import option
from roadseg.video.reading.columns import LISTS, Value

_TIME = "time_s"
_TEXTS = ("model", "corridor_nearest_class", "events", "hidden")


@dataclass(frozen=True)
class Table:
    """A timeline.

    Attributes:
        columns: the values of each column by name, None where unknown; `time_s` never is, and
            rises. Columns with several numbers in each row are left out.
        notes: what was wrong with the file, one line each.
    """

    columns: dict[str, list[Value]]
    notes: tuple[str, ...] = ()

    @property
    def times_s(self) -> list[float]:
        """Of each row."""
        return [float(value or 0) for value in self.columns[_TIME]]

    def numbers(self, name: str) -> list[float | None] | None:
        """A column of numbers; None where there is none of that name."""
        values = self.columns.get(name)
        if values is None:
            return None
        return [float(v) if isinstance(v, (int, float)) else None for v in values]


def read_timeline(path: Path) -> Table:
    """Read a timeline. Rows that cannot be read are left out, and a note says how many.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`.

    Raises:
        UsageError: another kind of file.
        SourceError: it cannot be read, or holds no row of a timeline.
        BackendError: Parquet, without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in (".csv", ".jsonl", ".parquet"):
        raise UsageError(
            f"{path} is no timeline", fix=f"give what {option('--timeline', 'FILE.csv')} wrote"
        )
    if suffix == ".parquet":
        require("a timeline in Parquet", ("pyarrow",), "timeline")
    try:
        if suffix == ".parquet":
            rows, notes = _parquet(path)
        else:
            text = path.read_bytes().decode("utf-8-sig", errors="replace")
            rows, notes = _csv(text) if suffix == ".csv" else _json_lines(text)
    except OSError as exc:
        raise unreadable(SourceError, path, exc) from exc
    except ValueError as exc:
        raise SourceError(
            f"cannot read {path}: it is damaged or no Parquet", fix="give another timeline"
        ) from exc
    whole = [row for row in rows if _is_number(row.get(_TIME))]
    if not whole:
        raise SourceError(
            f"{path} holds no row of a timeline, which has a column {_TIME}",
            fix=f"give what {option('--timeline', 'FILE.csv')} wrote",
        )
    damaged = len(rows) - len(whole)
    if damaged:
        lines, are = ("1 row", "is") if damaged == 1 else (f"{damaged} rows", "are")
        notes.append(f"{lines} of {path.name} cannot be read and {are} left out")
    whole.sort(key=lambda row: float(row[_TIME]))
    names = [name for name in dict.fromkeys(n for row in whole for n in row) if name not in LISTS]
    return Table(
        {name: [_value(name, row.get(name)) for row in whole] for name in names}, tuple(notes)
    )


_Rows = list[dict[str, Any]]


def _csv(text: str) -> tuple[_Rows, list[str]]:
    reader = csv.reader(io.StringIO(text.replace("\0", "\ufffd"), newline=""))
    lines = _whole_lines(reader)
    header = [name.strip() for name in next(lines, None) or []]
    rows: _Rows = []
    for cells in lines:
        if not cells:
            continue
        fits = len(cells) == len(header)
        rows.append({n: _cell(n, c) for n, c in zip(header, cells, strict=True)} if fits else {})
    if rows and not text.endswith("\n"):
        rows[-1] = {}  # it was cut, and nobody knows how many digits its last number had
    return rows, []


def _whole_lines(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    while (line := _next_line(reader)) is not None:
        yield line


def _next_line(reader: Iterator[list[str]]) -> list[str] | None:
    try:
        return next(reader, None)
    except csv.Error:  # a field without an end
        return [""]


def _json_lines(text: str) -> tuple[_Rows, list[str]]:
    rows: _Rows = []
    for line in text.split("\n"):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = {}
        rows.append(row if isinstance(row, dict) else {})
    return rows, []


def _parquet(path: Path) -> tuple[_Rows, list[str]]:
    from roadseg.video.reading.parquet import read_rows

    names, values, is_cut = read_rows(path)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    return rows, [f"the run into {path.name} was cut: these are its rows"] if is_cut else []


def _cell(name: str, text: str) -> Value:
    """A cell of CSV: numbers as such, where the column has them."""
    if name in _TEXTS:
        return text or None
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) < 1e12  # NaN is not


def _value(name: str, value: object) -> Value:
    if name in _TEXTS:
        return str(value) if value else None
    if not _is_number(value):
        return None
    assert isinstance(value, (int, float))
    return value


def intervals(times_s: Sequence[float], events: Sequence[Value]) -> list[tuple[str, float, float]]:
    """Events of a timeline's column `events`: name, first and last time, by their beginnings.

    >>> intervals([0.0, 0.1, 0.2, 0.3], ["a", "a;b", None, "a"])
    [('a', 0.0, 0.1), ('b', 0.1, 0.1), ('a', 0.3, 0.3)]
    """
    found: list[tuple[str, float, float]] = []
    open_at: dict[str, int] = {}
    for time_s, text in zip(times_s, events, strict=True):
        names = text.split(";") if isinstance(text, str) and text else []
        for name in [each for each in open_at if each not in names]:
            del open_at[name]
        for name in names:
            if name in open_at:
                found[open_at[name]] = (name, found[open_at[name]][1], time_s)
            else:
                open_at[name] = len(found)
                found.append((name, time_s, time_s))
    return found
