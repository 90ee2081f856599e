"""The timeline: what was read from each frame, as a row of a table.

CSV and JSON lines grow with every frame, and whatever cuts the run leaves whole rows; so does the
hidden file that becomes Parquet in the end.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from roadseg.video.reading.columns import Column, Value, Values, columns
from roadseg.video.reading.lines_file import LinesFile
from roadseg.video.reading.read import Read


class _Table(Protocol):
    """Takes rows."""

    warnings: list[str]

    def write(self, row: Sequence[Value | Values]) -> None: ...

    def sync(self) -> None: ...

    def close(self, *, ok: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """What a row says.

    Attributes:
        read: the frame, and what was read from it.
        age_ms: how long ago it was captured; None to leave it out.
        model: name of the network.
    """

    read: Read
    age_ms: float | None
    model: str


class Timeline:
    """A file with one row for each frame. One thread at a time uses it; any may call `sync`.

    Args:
        path: `.csv`, `.jsonl` or `.parquet`, in a folder that exists.
        names: of the shares of a `Reading`.
        hidden: classes and groups that are hidden in the pictures.

    Attributes:
        path, warnings: as sinks have them.
    """

    def __init__(self, path: Path, names: Sequence[str], hidden: Sequence[str] = ()) -> None:
        self.path: Path | None = path
        self._hidden = ";".join(hidden)
        self._table = _table(path, columns(names))
        self.warnings: list[str] = self._table.warnings

    def write(self, row: Row) -> None:
        """Append a row.

        Raises:
            SinkError: it cannot be written; the rows before it are.
        """
        frame, reading, doubt = row.read.frame, row.read.reading, row.read.doubt
        if reading is None:
            return
        values = (
            frame.index,
            frame.time_s,
            row.age_ms,
            row.model,
            reading.road_share,
            reading.free_px,
            reading.free_m,
            _tenths(reading.free_parts_px),
            _tenths(reading.free_parts_m),
            reading.occupied,
            reading.nearest_px,
            reading.nearest_m,
            reading.nearest_class,
            ";".join(row.read.events),
            None if doubt is None else doubt.doubt.entropy,
            None if doubt is None else int(doubt.is_doubtful),
            self._hidden,
            *reading.shares,
        )
        self._table.write([_plain(value) for value in values])

    def sync(self) -> None:
        """See `roadseg.video.outputs.GrowingSink`."""
        self._table.sync()

    def close(self, *, ok: bool) -> None:
        """Finish the file, or without `ok` give up one that cannot be read yet.

        Raises:
            SinkError: it cannot be completed.
        """
        self._table.close(ok=ok)


def _tenths(numbers: Sequence[float]) -> Values | None:
    """One digit behind the point; None for what no number can say, and for none at all."""
    values = tuple(round(number, 1) if math.isfinite(number) else None for number in numbers)
    return values or None


def _plain(value: Value | Values) -> Value | Values:
    """Six digits behind the point; None for what no number can say, and for empty texts."""
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value or None if isinstance(value, str) else value


def _table(path: Path, header: tuple[Column, ...]) -> _Table:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        from roadseg.video.reading.parquet import ParquetTable

        return ParquetTable(path, header)
    names = [column.name for column in header]
    return _Csv(path, names) if suffix == ".csv" else _JsonLines(path, names)


class _Csv(LinesFile):
    """A header and comma-separated rows; what is unknown is empty, `nan` among several."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path, _csv_line(names))

    def write(self, row: Sequence[Value | Values]) -> None:
        self.append(_csv_line([_words(v) if isinstance(v, tuple) else v for v in row]))


class _JsonLines(LinesFile):
    """An object a line; what is unknown is null."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        super().__init__(path)
        self._names = names

    def write(self, row: Sequence[Value | Values]) -> None:
        self.append(json.dumps(dict(zip(self._names, row, strict=True))) + "\n")


def _words(values: Values) -> str:
    """Several numbers in one field, as `float` reads them."""
    return " ".join("nan" if value is None else str(value) for value in values)


def _csv_line(values: Sequence[Value]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue()
