"""What the page needs of a recorder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True)
class RecordedFile:
    """A recording that can be downloaded.

    Attributes:
        name: shown, and part of its address; no two have the same.
        path: where it lies.
        source: name of the camera.
        began_wall_s: by `time.time()`.
        size_bytes: so far.
    """

    name: str
    path: Path
    source: str
    began_wall_s: float
    size_bytes: int


class Recorder(Protocol):
    """Any thread may call these; `start` and `stop` may take a while."""

    def is_recording(self, source: str) -> bool:
        """Whether a camera is being recorded."""

    def start(self, source: str) -> None:
        """Record a camera. Raises `RoadsegError`, whose text viewers get."""

    def stop(self, source: str) -> None:
        """Finish the file."""

    def files(self) -> Sequence[RecordedFile]:
        """The recordings that may be downloaded, newest first; nothing else ever is."""


async def on_disk(work: Callable[[], _T]) -> _T:
    """Do what may wait for a disk, beside the event loop and beside the threads that encode: a disk
    that hangs keeps nobody else waiting. Raises as `work` does."""
    from anyio import to_thread  # part of Starlette

    return await to_thread.run_sync(work, abandon_on_cancel=True)
