"""One clip of an archive: what is read, and what its results are called."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clip:
    """One clip, or one drive of several files.

    Attributes:
        path: the file, the folder of images, or the first file of a drive.
        name: of its folder, relative to the archive's, with forward slashes.
        bytes: its size, for estimates.
        parts: the files of a drive, in order; empty for a single file.
        part_names: what each of them would be called by itself; the first is `name`.
        notes: what is worth knowing about the drive, one line each.
    """

    path: str
    name: str
    bytes: int = 0
    parts: tuple[str, ...] = ()
    part_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """All that is read, in order."""
        return self.parts or (self.path,)
