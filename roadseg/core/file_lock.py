"""Locks between processes; the system takes them back when a process ends, however it does."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path

from roadseg.core.errors import SinkError

# A file system without locks, such as some network shares.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class TargetTakenError(SinkError):
    """Something is there, or another run is about to put something there."""


class FileLock:
    """A lock on a file of its own. None is ever stale: what a killed process left is used again.

    filelock does the locking. Beside that, the file says who has the lock, and goes with it.

    Args:
        path: the lock file, in a folder that exists; it is there while somebody has the lock.
    """

    def __init__(self, path: Path) -> None:
        import filelock

        self.path = path
        # Without its markers for file systems without locks: those of a killed process stay.
        self._lock = filelock.FileLock(path, thread_local=False, fallback_to_soft=False)

    def take(self) -> bool:
        """Try to take it, without waiting.

        Returns:
            Whether it is ours now; otherwise another process (or object) has it.

        Raises:
            OSError: the file cannot be made, or the file system has no locks.
        """
        import filelock

        try:
            self._lock.acquire(blocking=False)
        except filelock.Timeout:
            if self.path.exists():
                return False
            # Either nobody can make the file, which to filelock is the same as one that another
            # holds, or who held it has let go meanwhile, and what is made here is ours to remove.
            self.path.touch()
            return self.take()
        except OSError as exc:
            if exc.errno in _NO_LOCKS:  # then it is nobody's
                with contextlib.suppress(OSError):
                    self.path.unlink()
            raise
        # A full disk takes no note of who has it, and that is all.
        with contextlib.suppress(OSError):
            self.path.write_text(str(os.getpid()), encoding="ascii")
        return True

    def owner(self) -> int | None:
        """Process id of the one who has it, if that is known."""
        try:
            return int(self.path.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Give it back and remove its file; a second call does nothing."""
        if not self._lock.is_locked:
            return
        # While it is still ours, or it would be another's file: who opened it before and locks it
        # afterwards sees that it is gone. Windows does not remove what is open: there it stays.
        with contextlib.suppress(OSError):
            self.path.unlink()
        self._lock.release()

    def __del__(self) -> None:
        """A lock that nobody holds on to is given back."""
        if "_lock" in vars(self):
            self.release()


def lock_target(file: Path, what: str) -> FileLock | None:
    """Take the lock of a target.

    Args:
        file: the lock's own file, hidden in or beside the target.
        what: option and path, for messages.

    Returns:
        The lock; None where the file system has none.

    Raises:
        TargetTakenError: another run has it.
        OSError: the lock's file cannot be made.
    """
    lock = FileLock(file)
    try:
        taken = lock.take()
    except OSError as exc:
        if exc.errno in _NO_LOCKS:
            return None
        raise
    if not taken:
        owner = lock.owner()
        by = "" if owner is None else f" (process {owner})"
        raise TargetTakenError(
            f"{what} is being written by another run{by}", fix="give another, or wait for it"
        )
    return lock
