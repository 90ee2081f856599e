"""Timelines as Parquet, by pyarrow, in row groups."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from roadseg.core.files import new_part, writing

if TYPE_CHECKING:
    from roadseg.video.reading.columns import Column, Value

__all__ = ["ParquetTable"]

_GROUP_ROWS = 1024
_FIX = "free the space it needs, or write .csv, which grows row by row"
_T = TypeVar("_T")


class ParquetTable:
    """A hidden file beside `path`, which gets the name when it is closed as good.

    Args:
        path: in a folder that exists.
        columns: of the table.
    """

    def __init__(self, path: Path, columns: Sequence[Column]) -> None:
        import pyarrow as pa

        kinds = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}
        self._schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
        self._path, self._part = path, new_part(path)
        self._rows: list[Sequence[Value]] = []
        self._writer: Any = None
        self._closed = False

    def write(self, row: Sequence[Value]) -> None:
        """Take a row.

        Raises:
            SinkError: a group of rows could not be written.
        """
        self._rows.append(row)
        if len(self._rows) == _GROUP_ROWS:
            self._flush()

    def sync(self) -> None:
        """Nothing to wait for: until it is closed no reader understands the file."""

    def close(self, *, ok: bool) -> None:
        """Finish the file under its name, or remove it; a second call does nothing.

        Raises:
            SinkError: it cannot be completed.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if ok:
                self._flush()
                self._attempt(self._writer.close)
                with writing(self._path, _FIX):
                    self._part.replace(self._path)
        finally:
            with contextlib.suppress(OSError):
                if self._writer is not None:
                    self._writer.close()
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            self._writer = self._attempt(lambda: pq.ParquetWriter(self._part, self._schema))
        by_column = list(zip(*self._rows, strict=True)) or [()] * len(self._schema)
        arrays = [
            pa.array(values, kind)
            for values, kind in zip(by_column, self._schema.types, strict=True)
        ]
        self._rows.clear()
        self._attempt(lambda: self._writer.write_table(pa.table(arrays, schema=self._schema)))

    def _attempt(self, step: Callable[[], _T]) -> _T:
        with writing(self._path, _FIX):
            return step()
