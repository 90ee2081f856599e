"""Room on the disk: how much is left, and which recordings make way for new ones."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable, Collection
from pathlib import Path

from roadseg.live.recording.names import recorded
from roadseg.media.sinks.targets import write_failure

_LOG = logging.getLogger("roadseg.live")

_GB = 1_000_000_000
_LOOK_S = 1.0

# Recording goes on when there is so much more room than where it paused: not on and off again.
_EASED = 1.05


class Room:
    """The disk below the recordings, for all that write there.

    Args:
        folder: of the recordings; exists.
        sources: whose files may be deleted.
        keep_gb: all files together; the oldest are deleted beyond it. None deletes nothing.
        min_free_gb: free space of the disk that is left to others.
        clock: seconds.
        free: bytes that are free below a folder.
    """

    def __init__(
        self,
        folder: Path,
        sources: Collection[str],
        keep_gb: float | None,
        min_free_gb: float,
        clock: Callable[[], float],
        free: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    ) -> None:
        self._folder, self._sources = folder, frozenset(sources)
        self._keep, self._floor = keep_gb, min_free_gb * _GB
        self._clock, self._free = clock, free
        self._lock = threading.Lock()
        self._looked_s = float("-inf")
        self._enough = True

    def enough(self) -> bool:
        """Whether the disk has room for more; looked at once a second.

        Raises:
            SinkError: the folder cannot be looked at: its disk is gone, or fails.
        """
        with self._lock:
            now_s = self._clock()
            if now_s - self._looked_s >= _LOOK_S:
                self._looked_s = now_s
                self._make_room()
                floor = self._floor if self._enough else self._floor * _EASED
                self._enough = self._free_bytes() > floor
            return self._enough

    @property
    def shortage(self) -> str:
        """Why there is not enough, for people; raises as `enough` does."""
        free_gb = self._free_bytes() / _GB
        return (
            f"{free_gb:.1f} GB are free below {self._folder}, and {self._floor / _GB:g} GB are "
            "left to others (min_free_gb)"
        )

    def _free_bytes(self) -> int:
        try:
            return self._free(self._folder)
        except OSError as exc:
            raise write_failure(self._folder, exc) from exc

    def _make_room(self) -> None:
        """Delete the oldest recordings beyond what is to be kept."""
        if self._keep is None:
            return
        files = recorded(self._folder, self._sources)
        spare = sum(each.size_bytes for each in files) - self._keep * _GB
        for file in files:
            if spare <= 0:
                return
            try:
                file.path.unlink(missing_ok=True)
            except OSError as exc:
                _LOG.warning("cannot delete %s: %s", file.path, exc.strerror)
                continue
            _LOG.debug("deleted %s", file.path)
            spare -= file.size_bytes
