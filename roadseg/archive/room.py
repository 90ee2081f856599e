"""Room on the disk: how much results take, and whether there is enough for the next ones."""

from __future__ import annotations

import shutil
from pathlib import Path

from roadseg.core.errors import SinkError
from roadseg.media.sinks.targets import write_failure

_MARGIN_BYTES = 32 * 2**20


class Room:
    """Learns how many bytes of results a byte of clips makes.

    Args:
        output: the archive's folder.
    """

    def __init__(self, output: Path) -> None:
        self._output = output
        self._bytes_in = self._bytes_out = 0

    def learn(self, bytes_in: int, bytes_out: int) -> None:
        """A clip of so many bytes has results of so many."""
        self._bytes_in += bytes_in
        self._bytes_out += bytes_out

    def need(self, bytes_in: int) -> int:
        """What results of so many bytes of clips will take, about; 0 while nothing is known."""
        return bytes_in * self._bytes_out // self._bytes_in if self._bytes_in else 0

    def fits(self, bytes_in: int) -> bool:
        """Whether results of so many bytes of clips have room. `SinkError`: no disk is there."""
        return self._free() >= self.need(bytes_in) + _MARGIN_BYTES

    def full(self, left: int, bytes_in: int) -> SinkError:
        """The error that says how much is missing.

        Args:
            left: clips that are not done.
            bytes_in: their size.
        """
        need = self.need(bytes_in) + _MARGIN_BYTES
        clips = "clip that is left needs" if left == 1 else f"{left} clips that are left need"
        about = f"about {_size(need)}" if self._bytes_in else "more"
        return SinkError(
            f"the disk of {self._output} is full: the {clips} {about}, and "
            f"{_size(self._free())} are free",
            fix="free some space and run the same again; what is done stays done",
        )

    def _free(self) -> int:
        try:
            return shutil.disk_usage(self._output).free
        except OSError as exc:  # the disk is gone
            raise write_failure(self._output, exc) from exc


def _size(count: int) -> str:
    """Bytes for people.

    >>> _size(3_400_000_000)
    '3.4 GB'
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"
