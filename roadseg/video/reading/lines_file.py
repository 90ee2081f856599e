"""A text file that grows by whole lines and is readable whenever the run is cut."""

from __future__ import annotations

import contextlib
import os
from io import FileIO
from pathlib import Path

from roadseg.core.files import writing

_FIX = "free the space it needs; what was written before is there"


class LinesFile:
    """Each line is in the file as soon as `append` returns. One thread at a time uses it.

    An older file of that name is replaced with the first line, or when the file is closed as good.

    Args:
        path: in a folder that exists.
        header: what stands before the first line.

    Attributes:
        warnings: none, ever; other kinds of timelines have some.
    """

    def __init__(self, path: Path, header: str = "") -> None:
        self.path = path
        self.warnings: list[str] = []
        self._header = header
        self._file: FileIO | None = None
        self._good = 0
        self._closed = False

    def append(self, text: str) -> None:
        """Append whole lines, ends included.

        Raises:
            SinkError: they cannot be written; the file ends with the line before them.
        """
        with writing(self.path, _FIX):
            if self._file is None:
                self._file = FileIO(self.path, "w")
                self._put(self._file, self._header.encode())
            self._put(self._file, text.encode("utf-8", "backslashreplace"))

    def sync(self) -> None:
        """See `GrowingSink.sync`; a file that has just been closed has nothing to wait for."""
        file = self._file
        if file is not None:
            with contextlib.suppress(OSError, ValueError):
                os.fsync(file.fileno())

    def close(self, *, ok: bool) -> None:
        """Finish; a second call does nothing.

        Raises:
            SinkError: it cannot be written.
        """
        if self._closed:
            return
        if ok and self._file is None:
            self.append("")
        self._closed = True
        file, self._file = self._file, None
        if file is not None:
            with writing(self.path, _FIX):
                file.close()

    def _put(self, file: FileIO, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                left = left[file.write(left) or 0 :]
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(self._good)  # no half line
            raise
        self._good += len(data)
