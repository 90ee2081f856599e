"""Locks between processes; the system takes them back when a process ends, however it does."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from pathlib import Path

from roadseg.core.errors import SinkError

__all__ = ["FileLock", "TargetTakenError", "lock_target"]

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
# A file system without locks, such as some network shares.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class TargetTakenError(SinkError):
    """Something is there, or another run is about to put something there."""


class FileLock:
    """A lock on a file of its own. None is ever stale: what a killed process left is used again.

    Args:
        path: the lock file, in a folder that exists; it is there while somebody has the lock.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._handle: int | None = None

    def take(self) -> bool:
        """Try to take it, without waiting.

        Returns:
            Whether it is ours now; otherwise another process (or object) has it.

        Raises:
            OSError: the file cannot be made, or the file system has no locks.
        """
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                taken = _lock(handle)
            except OSError:
                with contextlib.suppress(OSError):
                    self.path.unlink()
                os.close(handle)
                raise
            if not taken:
                os.close(handle)
                return False
            # The one who had it may have removed the file between our opening and locking it.
            if _is_same(handle, self.path):
                break
            os.close(handle)
        self._handle = handle
        # A full disk takes no note of who has it, and that is all.
        with contextlib.suppress(OSError):
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, str(os.getpid()).encode())
        return True

    def owner(self) -> int | None:
        """Process id of the one who has it, if that is known."""
        try:
            return int(self.path.read_text())
        except (OSError, ValueError):
            return None

    def release(self) -> None:
        """Give it back and remove its file; a second call does nothing."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        # While it is still ours, or it would be another's file. Windows does not remove what is
        # open: there the file stays.
        with contextlib.suppress(OSError):
            self.path.unlink()
        os.close(handle)

    def __del__(self) -> None:
        """A lock that nobody holds on to is given back."""
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


def _lock(handle: int) -> bool:
    try:
        if sys.platform == "win32":
            import msvcrt

            # A byte far behind the end, so that others can read the process id.
            os.lseek(handle, 1 << 20, os.SEEK_SET)
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        if exc.errno in _BUSY:
            return False
        raise
    return True


def _is_same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except OSError:
        return False
