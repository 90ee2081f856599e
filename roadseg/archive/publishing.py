"""A clip's folder appears under its name when all of it is there, in one step."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roadseg.archive.result import CLIP_FILE, ClipResult, Output, write_clip_file
from roadseg.archive.spec import FILES
from roadseg.core.errors import SinkError
from roadseg.core.files import sync
from roadseg.media.sinks.targets import write_failure


@contextmanager
def unfinished_folder(output: Path, name: str) -> Iterator[Path]:
    """A new folder to write a clip's files into; what is left of it afterwards is removed.

    Args:
        output: the archive's folder.
        name: of the folder in it for what is not complete.

    Raises:
        SinkError: it cannot be made.
    """
    folder = output / name / f"{os.getpid()}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as exc:
        raise write_failure(folder, exc) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_unfinished(folder: Path, *, only_empty: bool = False) -> None:
    """Remove the folder that holds unfinished ones.

    Args:
        folder: it may be missing.
        only_empty: leave one that others write to.
    """
    if only_empty:
        with contextlib.suppress(OSError):
            folder.rmdir()
    else:
        shutil.rmtree(folder, ignore_errors=True)


def outputs_in(folder: Path, name: str) -> tuple[Output, ...]:
    """What was written into a clip's folder, in the order of `FILES`.

    Args:
        folder: complete, wherever it lies.
        name: of the clip's folder in the archive.

    Raises:
        OSError: it cannot be read.
    """
    found = []
    for kind, file in FILES.items():
        path = folder / file
        if path.exists():
            found.append(Output(kind, f"{name}/{file}", bytes_of(path)))
    return tuple(found)


def bytes_of(path: Path) -> int:
    """Size of a file, or of all files in a folder.

    Raises:
        OSError: it is not there, or cannot be read.
    """
    if not path.is_dir():
        return path.stat().st_size
    with os.scandir(path) as entries:
        return sum(entry.stat().st_size for entry in entries)


def is_whole(output: Path, result: ClipResult) -> bool:
    """Whether the files of a result are there, as large as they were."""
    try:
        if not (output / result.name / CLIP_FILE).is_file():
            return False
        return all(bytes_of(output / each.path) == each.bytes for each in result.outputs)
    except OSError:
        return False


def publish(folder: Path, output: Path, result: ClipResult) -> None:
    """Give a complete folder its name, in place of an older result of that name.

    Args:
        folder: from `unfinished_folder`, with all files.
        output: the archive's folder.
        result: what they are.

    Raises:
        SinkError: it cannot be done, or there is something of that name that is not a result.
    """
    target = output / result.name
    write_clip_file(folder, result)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(target):
            check_replaceable(target)
            # It goes with the unfinished ones, however this run ends.
            target.rename(folder.with_name(f"{folder.name}-old"))
        folder.rename(target)
    except OSError as exc:
        raise write_failure(target, exc) from exc
    shutil.rmtree(folder.with_name(f"{folder.name}-old"), ignore_errors=True)
    with contextlib.suppress(OSError):  # where a folder can be waited for
        sync(target.parent)


def check_replaceable(target: Path) -> None:
    """Refuse to replace what is not a clip's result.

    Raises:
        SinkError: `target` is something else.
    """
    if os.path.lexists(target) and not (target / CLIP_FILE).is_file():
        raise SinkError(
            f"{target} is there, and is not a result of an archive",
            fix="move it away, or give another output",
        )
