"""One build of an engine at a time, whatever the number of processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roadseg.core.errors import SinkError, os_reason
from roadseg.core.file_lock import FileLock
from roadseg.core.wording import option

_POLL_S = 0.2


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
    lock = FileLock(engine.with_name(f".{engine.name}.lock"))
    waited = False
    while not _take(lock):
        if not waited:
            waiting(lock.owner())
            waited = True
        sleep(_POLL_S)
    try:
        yield waited
    finally:
        lock.release()


def _take(lock: FileLock) -> bool:
    try:
        return lock.take()
    except OSError as exc:
        raise SinkError(
            f"cannot lock {lock.path} ({os_reason(exc)})",
            fix=f"give another folder with {option('--output')}",
        ) from exc
