"""One build of an engine at a time, whatever the number of processes."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roadseg.errors import SinkError

__all__ = ["build_lock"]

_POLL_S = 0.2
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


@contextmanager
def build_lock(
    engine: Path,
    waiting: Callable[[int | None], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bool]:
    """Hold the lock of an engine inside a `with` block; wait while another process has it.

    The system takes a lock back when its process ends, however that happens, so none is ever
    stale; the file that is left then is used again.

    Args:
        engine: where the engine is to lie; the lock is a hidden file beside it.
        waiting: called once if it has to wait, with the other's process id if that is known.
        sleep: waits so many seconds between two attempts.

    Yields:
        Whether it had to wait.

    Raises:
        SinkError: the folder takes no lock files.
    """
    path = engine.with_name(f".{engine.name}.lock")
    waited = False
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                taken = _take(handle)
            except OSError:
                os.close(handle)
                raise
        except OSError as exc:
            raise SinkError(
                f"cannot lock {path} ({exc.strerror or exc}): give another folder with --output"
            ) from exc
        # The one who had it may have removed the file between our opening and locking it.
        if taken and _is_same(handle, path):
            break
        if not taken and not waited:
            waiting(_owner(path))
            waited = True
        os.close(handle)
        if not taken:
            sleep(_POLL_S)
    try:
        os.ftruncate(handle, 0)
        os.lseek(handle, 0, os.SEEK_SET)
        os.write(handle, str(os.getpid()).encode())
        yield waited
    finally:
        # While it is still ours, or it would be another's file. Windows does not remove what is
        # open: there the file stays.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(handle)


def _take(handle: int) -> bool:
    """Try to lock; whether it worked."""
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


def _owner(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
