"""Timelines as Parquet, by pyarrow.

Parquet cannot be read before it is complete. While a run goes on, its rows are in a hidden file as
an Arrow stream, which can be read up to wherever it is cut; in the end they become Parquet. What a
killed run left is still rows: the next run into the same file gives them a name, and `read_rows`
reads them.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roadseg.core.files import (
    behind_links,
    new_part,
    printable,
    put_in_place,
    sync,
    writing,
)
from roadseg.media.sinks.leftovers import free_name, new_copy, parts_of

if TYPE_CHECKING:
    import pyarrow

    from roadseg.video.reading.columns import Column, Value, Values


# Few enough that a run that is cut loses little.
_BATCH_ROWS = 64
_BATCH_S = 2.0
_GROUP_ROWS = 16_384
_FIX = "free the space it needs, or write .csv, which grows row by row"
_T = TypeVar("_T")


class ParquetTable:
    """Rows in a hidden file beside `path`, which become Parquet of that name in the end.

    Args:
        path: in a folder that exists, and no other run's.
        columns: of the table.

    Attributes:
        warnings: one line for each killed run that left rows.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import pyarrow as pa

        number = pa.float64()
        kinds = {"int": pa.int64(), "float": number, "text": pa.string()}
        kinds["floats"] = pa.list_(number)
        self._schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
        self.warnings = _settle(path)
        self._path, self._part = path, new_part(path)
        self._rows: list[Sequence[Value | Values]] = []
        self._flushed_s = time.monotonic()
        self._file: Any = None
        self._writer: Any = None
        self._has_failed = self._closed = False

    def write(self, row: Sequence[Value | Values]) -> None:
        """Take a row.

        Raises:
            SinkError: some rows could not be written; those before are kept.
        """
        # Arrow takes Unicode alone.
        self._rows.append([printable(each) if isinstance(each, str) else each for each in row])
        if len(self._rows) == _BATCH_ROWS or time.monotonic() - self._flushed_s >= _BATCH_S:
            self._flush()

    def sync(self) -> None:
        """Wait until the disk has what was written."""
        with contextlib.suppress(OSError):
            sync(self._part)

    def close(self, *, ok: bool) -> None:
        """Finish the file under its name; a second call does nothing.

        Args:
            ok: without it, rows are kept only if it was writing them that failed.

        Raises:
            SinkError: it cannot be completed; the rows stay in the hidden file.
        """
        if self._closed:
            return
        self._closed = True
        if ok:
            self._flush()
        for opened in (self._writer, self._file):
            with contextlib.suppress(OSError):
                if opened is not None:
                    opened.close()
        if not ok and not self._has_failed:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
            return
        if self._part.exists():
            self._attempt(lambda: _convert(self._part, self._path))

    def _flush(self) -> None:
        import pyarrow as pa

        if self._writer is None:
            self._file = self._attempt(lambda: _opened(self._part, "w"))
            self._writer = self._attempt(lambda: pa.ipc.new_stream(self._file, self._schema))
        by_column = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [
            pa.array(values, kind)
            for values, kind in zip(by_column, self._schema.types, strict=True)
        ]
        self._rows.clear()
        self._flushed_s = time.monotonic()
        batch = pa.record_batch(arrays, schema=self._schema)
        self._attempt(lambda: self._writer.write_batch(batch))

    def _attempt(self, step: Callable[[], _T]) -> _T:
        try:
            with writing(self._path, _FIX):
                return step()
        except BaseException:
            self._has_failed = True
            raise


def read_rows(path: Path) -> tuple[list[str], list[list[Any]], bool]:
    """Read a Parquet file; where there is none, the rows that a killed run left.

    Returns:
        Names and values of the columns, and whether the run was cut.

    Raises:
        OSError: it cannot be read.
        ValueError: it is damaged, or no Parquet.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_cut = False
    if path.exists():
        with _opened(path) as file:
            table = pq.read_table(file)
    else:
        left = [part for part, _ in parts_of(path) if _has_rows(part)]
        if not left:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        newest = max(left, key=lambda part: part.stat().st_mtime)
        table, is_cut = pa.Table.from_batches(list(_batches(newest))), True
    return table.column_names, [column.to_pylist() for column in table.columns], is_cut


def _settle(path: Path) -> list[str]:
    """Make Parquet of what runs that were killed left; a warning for each that had rows."""
    warnings = []
    for part, _ in parts_of(path) if path.parent.is_dir() else ():
        # What cannot be touched, on whatever grounds, stays: this run does not depend on it.
        with contextlib.suppress(OSError):
            if not _has_rows(part):
                part.unlink()
                continue
            place = free_name(path)
            rows = _convert(part, place)
            warnings.append(
                f"an earlier run into {path.name} was killed: its {rows} rows are now in {place}"
            )
    return warnings


def _convert(part: Path, path: Path) -> int:
    """An Arrow stream, perhaps a cut one, to Parquet; how many rows it has.

    Raises:
        OSError: it cannot be written, and nothing is left but the stream.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = list(_batches(part))
    table = pa.Table.from_batches(batches) if batches else _schema(part).empty_table()
    path = behind_links(path)
    copy = new_copy(path)
    try:
        with _opened(copy, "w") as file:
            pq.write_table(table, file, row_group_size=_GROUP_ROWS)
        put_in_place(copy, path)
    except BaseException:
        with contextlib.suppress(OSError):
            copy.unlink(missing_ok=True)
        raise
    part.unlink()
    return int(table.num_rows)


def _opened(path: Path, mode: str = "r") -> pyarrow.OSFile:
    """A file of any name: as text, Arrow takes Unicode alone."""
    import pyarrow as pa

    return pa.OSFile(os.fsencode(path), mode)


def _has_rows(part: Path) -> bool:
    return next(_batches(part), None) is not None


def _schema(part: Path) -> pyarrow.Schema:
    import pyarrow as pa

    with _opened(part) as file:
        return pa.ipc.open_stream(file).schema


def _batches(part: Path) -> Iterator[pyarrow.RecordBatch]:
    """The whole batches of a stream, as far as it goes."""
    import pyarrow as pa

    cut = (pa.ArrowInvalid, OSError, StopIteration)
    with contextlib.suppress(*cut), _opened(part) as file:
        stream = pa.ipc.open_stream(file)
        while True:
            yield stream.read_next_batch()
