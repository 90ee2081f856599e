"""JSON reports on disk: refused early when they cannot be written, and never half-written."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadseg.core.errors import SinkError, os_reason
from roadseg.core.file_lock import lock_target
from roadseg.core.whole_file import hidden_beside, replace_file

__all__ = ["claim_json", "claimed_json", "write_json"]


def claim_json(path: Path) -> None:
    """Make sure that a report can be written to `path`, creating its folder where it is missing.

    What is there already is left alone.

    Raises:
        SinkError: it is a folder, or cannot be written.
    """
    if os.path.isdir(path):
        raise SinkError(
            f"cannot write {path}: it is a folder", fix=f"give a file such as {path}/run.json"
        )
    probe = hidden_beside(path, f".{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name that is too long is found here: the hidden ones beside it are short enough.
        with contextlib.suppress(FileNotFoundError):
            path.lstat()
        probe.touch()
        probe.unlink()
    except OSError as exc:
        raise _failure(path, exc) from exc


@contextmanager
def claimed_json(path: Path, option: str) -> Iterator[None]:
    """`claim_json`, and no other run may do so inside the block.

    Args:
        path: where a report will be written.
        option: of the command line, for messages.

    Raises:
        SinkError: it cannot be written, or another run is about to.
    """
    claim_json(path)
    place = path.resolve()
    try:
        lock = lock_target(hidden_beside(place, ".lock"), f"{option} {path}")
    except OSError as exc:
        raise _failure(path, exc) from exc
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def write_json(path: Path, value: object) -> None:
    """Write `value`; the file appears under its name only when it is complete.

    Raises:
        SinkError: it cannot be written.
    """
    text = json.dumps(value, indent=2, allow_nan=False) + "\n"
    try:
        replace_file(path, text.encode("utf-8"))
    except OSError as exc:
        raise _failure(path, exc) from exc


def _failure(path: Path, exc: OSError) -> SinkError:
    return SinkError(
        f"cannot write {path}: {os_reason(exc)}", fix="give another name or free the space it needs"
    )
