"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from roadseg.core.errors import SinkError, os_reason
from roadseg.core.file_lock import lock_target

# What file systems take as a name, and what is kept of it for the ending of a hidden one: the same
# whatever the ending, so that all hidden files of a path begin alike.
_MAX_BYTES = 255
_ENDING_BYTES = 40

# More than systems follow, and an end for links that lead in a circle.
_MOST_LINKS = 64
_FOLDER_OF_OPEN_FILES = re.compile("/proc/[^/]+/(task/[^/]+/)?fd")

_FIX = "give another name or free the space it needs"


def with_ending(path: Path, ending: str, usual: str) -> Path:
    """A path like this one that ends as it should, for advice.

    Args:
        path: as it is given.
        ending: with its dot.
        usual: name without the ending, for a path that has none.

    >>> with_ending(Path("out/a.txt"), ".png", "mask"), with_ending(Path("."), ".png", "mask")
    (PosixPath('out/a.png'), PosixPath('mask.png'))
    """
    return path / (usual + ending) if path.name in ("", "..") else path.with_suffix(ending)


def hidden_beside(path: Path, ending: str) -> Path:
    """The name of a hidden file beside `path`, whose own name may be as long as names can be.

    Args:
        path: what the hidden file belongs to.
        ending: up to 40 bytes that tell its hidden files apart.

    >>> hidden_beside(Path("out/a.mp4"), ".part")
    PosixPath('out/.a.mp4.part')
    """
    name = path.name
    room = _MAX_BYTES - _ENDING_BYTES - 1
    if len(os.fsencode(name)) > room:
        # Long names that begin alike stay different.
        digest = "~" + hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
        while len(os.fsencode(name)) > room - len(digest):
            name = name[:-1]
        name += digest
    return path.with_name(f".{name}{ending}")


def new_part(path: Path) -> Path:
    """A new hidden name beside `path`, `.a.mp4.4711-0f3d2c.part`, for what is written now."""
    return hidden_beside(path, f".{os.getpid()}-{secrets.token_hex(3)}.part")


@contextmanager
def writing(path: Path, fix: str) -> Iterator[None]:
    """Translate what the system says about writing `path` inside the block.

    Raises:
        SinkError: instead of an OSError; `fix` is what to do about it.
    """
    try:
        yield
    except OSError as exc:
        raise unwritable(path, exc, fix) from exc


def unwritable(path: Path | str, exc: OSError, fix: str) -> SinkError:
    """The error for a file that cannot be written.

    Args:
        path: of the file.
        exc: what the system says.
        fix: what to do about it, unless the disk takes nothing at all.
    """
    if exc.errno == errno.EROFS:  # neither room nor another name in the folder helps
        return SinkError(f"the disk of {path} is read-only", fix="give a folder on another one")
    return SinkError(f"cannot write {path} ({os_reason(exc)})", fix=fix)


def is_special(path: Path) -> bool:
    """Whether there is something that is written to and not replaced: a device or a pipe.

    So is what programs have open, such as `/dev/stdout`: a link, also where a file is behind it.
    """
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    if stat.S_ISDIR(mode):
        return False
    return not stat.S_ISREG(mode) or _open_file(path) is not None


def behind_links(path: Path) -> Path:
    """The file itself, where `path` is a link to it; it need not be there."""
    return Path(os.path.realpath(path))


def _open_file(path: Path) -> Path | None:
    """The first of the links behind `path` that belongs to the system: `/dev/NAME` or
    `/proc/PID/fd/N`, which comes back where both are passed; None where there is none."""
    found = None
    for _ in range(_MOST_LINKS):
        # The folder without links: /proc/self and /dev/fd are some themselves.
        path = behind_links(path.parent) / path.name
        if not path.is_symlink():
            break
        if _FOLDER_OF_OPEN_FILES.fullmatch(path.parent.as_posix()):
            return path
        if path.parent == Path("/dev"):
            found = path
        path = path.parent / os.readlink(path)
    return found


def _write_into(path: Path, source: IO[bytes]) -> None:
    """Write to what is not replaced.

    Raises:
        OSError: it cannot be done.
    """
    open_file = _open_file(path)
    own = behind_links(Path("/proc/self/fd"))
    if open_file is not None and open_file.parent == own:
        # Opened anew, a file would lose what this program has printed into it.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        with os.fdopen(os.dup(int(open_file.name)), "wb") as target:
            shutil.copyfileobj(source, target)
        return
    with path.open("wb") as target:
        shutil.copyfileobj(source, target)


def sync(path: Path) -> None:
    """Wait until the disk has what was written to a file, or, of a folder, its names.

    Raises:
        OSError: the disk fails, or this system has no way to wait for a folder.
    """
    # Windows waits for files that are opened to be written alone.
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file its name, in one step. A device or a pipe of that name is written to.

    Raises:
        OSError: it cannot be done; the finished file stays where it is.
    """
    if not is_special(path):
        part.replace(path)
        return
    # To take its place would leave the machine without its /dev/null.
    with part.open("rb") as source:
        _write_into(path, source)
    part.unlink()


@contextmanager
def whole_file(path: Path, *, fix: str | None = None, durable: bool = True) -> Iterator[Path]:
    """A hidden file beside `path` to write to, which gets the name when the block succeeds.

    After a crash, an interruption or on a full disk, what was there before still is. A device or
    a pipe, such as `/dev/null`, is written to and stays what it is, and so does a link: the file
    behind it is written.

    Args:
        path: in a folder that exists.
        fix: what to do about a failure, which then is a `SinkError`.
        durable: wait for the disk, so that not even a power cut leaves half a file.

    Yields:
        Where to write; the file is not there yet.

    Raises:
        OSError: it cannot be written, and there is no `fix`; nothing is left of it.
        SinkError: the same, with a `fix`.
    """
    special = is_special(path)
    with contextlib.nullcontext() if fix is None else writing(path, fix):
        file = path if special else behind_links(path)
        part = Path(tempfile.mkdtemp()) / path.name if special else new_part(file)
        try:
            yield part
            if durable and not special:
                sync(part)
            put_in_place(part, file)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise
        finally:
            if special:
                shutil.rmtree(part.parent, ignore_errors=True)


@contextmanager
def whole_files(folder: Path, *, last: str) -> Iterator[Path]:
    """An empty hidden folder, whose files take their places when the block succeeds.

    Args:
        folder: where they are to lie.
        last: name of the file that is moved after all others, because it describes them.

    Raises:
        OSError: they cannot be written; those that were there before are, unless moving failed.
    """
    staging = Path(tempfile.mkdtemp(prefix=f".{last}.", dir=folder))
    try:
        yield staging
        for path in sorted(staging.iterdir(), key=lambda path: path.name == last):
            path.replace(folder / path.name)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_bytes(
    path: Path, content: bytes, *, fix: str | None = None, durable: bool = True
) -> None:
    """Write a file in one step; see `whole_file`."""
    with whole_file(path, fix=fix, durable=durable) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str, *, fix: str | None = None) -> None:
    """Write UTF-8 in one step; see `whole_file`, and `printable` for what is not Unicode."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"), fix=fix)


def printable(path: str) -> str:
    """A path as text that every file and data base takes: what is not Unicode is escaped.

    >>> printable("caf\\udce9.mp4")
    'caf\\\\udce9.mp4'
    """
    return path.encode("utf-8", "backslashreplace").decode()


def write_json(path: Path, value: object, *, fix: str = _FIX) -> None:
    """Write a value as JSON in one step.

    Raises:
        SinkError: it cannot be written.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n", fix=fix)


def claim_file(path: Path, *, instead: str = "", fix: str = _FIX) -> None:
    """Make sure that a file can be written to `path`, creating its folder where it is missing.

    What is there already is left alone.

    Args:
        path: where it will be written.
        instead: what to do where that is a folder; by default the advice names a file in it.
        fix: what to do about any other failure.

    Raises:
        SinkError: it is a folder, or cannot be written.
    """
    if os.path.isdir(path):
        raise SinkError(
            f"cannot write {path}: it is a folder",
            fix=instead or f"give a file such as {path}/run.json",
        )
    if is_special(path):
        if not os.access(path, os.W_OK):
            raise SinkError(f"cannot write {path} (permission denied)", fix=fix)
        return
    with writing(path, fix):
        place = behind_links(path)  # fails where the current folder is gone
        probe = new_part(place)
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            # A name that is too long is found here: the hidden ones beside it are short enough.
            with contextlib.suppress(FileNotFoundError):
                place.lstat()
            probe.touch()
            # Whoever holds the lock of this file clears away what looks like a part of it.
            probe.unlink(missing_ok=True)
        except (FileExistsError, NotADirectoryError) as exc:
            file = next(each for each in place.parents if each.exists())
            raise NotADirectoryError(f"{file} is no folder") from exc


@contextmanager
def claimed_file(path: Path, option: str) -> Iterator[None]:
    """`claim_file`, and no other run may do so inside the block; a device or a pipe is shared.

    Args:
        path: where a report will be written.
        option: of the command line, for messages.

    Raises:
        SinkError: it cannot be written, or another run is about to.
    """
    claim_file(path)
    if is_special(path):
        yield
        return
    with writing(path, _FIX):
        lock = lock_target(hidden_beside(path.resolve(), ".lock"), f"{option} {path}")
    try:
        yield
    finally:
        if lock is not None:
            lock.release()
