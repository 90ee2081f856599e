"""Checks of what `--output` and `--save-masks` name, made before any work is done."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from roadseg.core.errors import SinkError
from roadseg.core.file_lock import FileLock, TargetTakenError, lock_target
from roadseg.core.files import hidden_beside, is_special, new_part, put_in_place, unwritable
from roadseg.core.wording import option
from roadseg.media.container import reason
from roadseg.media.sinks.leftovers import settle_folder, settle_parts
from roadseg.media.sources.base import SourceInfo

__all__ = [
    "Claim",
    "TargetTakenError",
    "claim_file",
    "claim_folder",
    "replace_file",
    "write_failure",
]


@dataclass
class Claim:
    """A target that no other run writes to until it is released.

    Attributes:
        temporary: a new, empty file, hidden, to write into and to put in place at the end; for a
            folder the folder itself.
        warnings: one line each.
        lock: None where the file system has no locks, and for a device or a pipe.
        scratch: a folder for `temporary` alone, where nothing may be left beside the target.
    """

    temporary: Path
    warnings: list[str] = field(default_factory=list)
    lock: FileLock | None = None
    scratch: Path | None = None

    def release(self) -> None:
        """Let others write there; a second call does nothing."""
        if self.lock is not None:
            self.lock.release()
        if self.scratch is not None:
            # Not where it holds what could not be put in place.
            with contextlib.suppress(OSError):
                self.scratch.rmdir()


def claim_file(path: Path, source: SourceInfo, *, overwrite: bool, name: str = "--output") -> Claim:
    """Make sure that `path` can be written, creating its folder where it is missing.

    The target itself (or an older file there) is untouched until the end. Recordings that killed
    runs left hidden beside it get names. A device or a pipe is written to at the end, and stays.

    Raises:
        TargetTakenError: another run is writing it, or it is there and not to be overwritten.
        SinkError: it is the source or a folder, or cannot be created.
    """
    target, shown = path.resolve(), option(name, path)
    inputs = [*(Path(origin) for origin, _name in source.names), *source.parts]
    if source.path is not None:
        inputs.append(source.path)
    if any(_same(target, each) for each in inputs if not each.is_dir()):
        raise SinkError(f"{shown} is the source itself", fix="give the result another name")
    # Of os.path, for which a name that cannot be is one that is not there: writing says why.
    if os.path.isdir(target):
        raise SinkError(f"{shown} is a folder", fix=f"give a file name such as {path / 'out.mp4'}")
    taken = TargetTakenError(f"{shown} exists", fix="remove it or give another name")
    if os.path.exists(target) and not overwrite:
        raise taken
    if is_special(target):
        return _claim_special(path, target)
    lock = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # A name that is too long is found here: the hidden ones beside it are short enough.
        with contextlib.suppress(FileNotFoundError):
            target.lstat()
        lock = lock_target(hidden_beside(target, ".lock"), shown)
        if target.exists() and not overwrite:
            # Between the look above and the lock, the run that had it has ended.
            if lock is not None:
                lock.release()
            raise taken
        # Without locks a part may be one that another run is writing.
        warnings = [] if lock is None else settle_parts(target)
        temporary = new_part(target)
        # Plain open and not tempfile, whose files nobody but the owner may read.
        with temporary.open("xb"):
            pass
    except OSError as exc:
        if lock is not None:
            lock.release()
        raise write_failure(path, exc) from exc
    return Claim(temporary, warnings, lock)


def _claim_special(path: Path, target: Path) -> Claim:
    try:
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        scratch = Path(tempfile.mkdtemp())
        temporary = scratch / target.name
        temporary.touch()
    except OSError as exc:
        raise write_failure(path, exc) from exc
    return Claim(temporary, scratch=scratch)


def claim_folder(
    folder: Path, source: SourceInfo, *, name: str, overwrite: bool, other: Path | None = None
) -> Claim:
    """Make sure that files can be written into `folder`, creating it where it is missing.

    Args:
        folder: where PNGs will go.
        source: must not read images from that folder.
        name: of the option, for messages: `--output` or `--save-masks`.
        overwrite: whether PNGs that are there already may be replaced.
        other: another sink's folder or file, which must not be this one.

    Returns:
        The claim, with warnings, for example that older PNGs lie there.

    Raises:
        TargetTakenError: another run is writing to it, or PNGs are there and not to be replaced.
        SinkError: it is the source's folder or a file, or cannot be written to.
    """
    target, shown = folder.resolve(), option(name, folder)
    if any(_same(target, d) for d in source.input_dirs):
        raise SinkError(f"{shown} is the folder that the source is read from", fix="give another")
    if other is not None and _same(target, other):
        raise SinkError(
            f"{shown} is also the folder of {option('--output')}",
            fix="give each a folder of its own",
        )
    if os.path.exists(target) and not os.path.isdir(target):
        raise SinkError(f"{shown} is a file", fix="give a folder")
    lock = None
    try:
        target.mkdir(parents=True, exist_ok=True)
        lock = lock_target(target / ".roadseg.lock", shown)
        warnings = [] if lock is None else settle_folder(target)
        older = sum(1 for p in target.iterdir() if p.suffix == ".png")
    except OSError as exc:
        if lock is not None:
            lock.release()
        raise write_failure(folder, exc) from exc
    if older and not overwrite:
        if lock is not None:
            lock.release()
        raise TargetTakenError(
            f"{shown} holds {older} PNG files", fix="empty it or give another folder"
        )
    if older:
        warnings.append(
            f"{shown} already holds {older} PNG files; those of equal name are replaced"
        )
    return Claim(target, warnings, lock)


def replace_file(temporary: Path, path: Path) -> None:
    """Put a finished file under its final name, in one step; see `put_in_place`.

    Raises:
        SinkError: it cannot be renamed; the temporary file is removed.
    """
    try:
        put_in_place(temporary, path.resolve())
    except BaseException as exc:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(exc, OSError):
            raise
        raise write_failure(path, exc) from exc


def write_failure(path: Path, exc: BaseException) -> SinkError:
    """The error to raise for a failure of the system or of FFmpeg while writing `path`."""
    code = getattr(exc, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT):
        return SinkError(
            f"the disk is full while writing {path}", fix="free some space and run it again"
        )
    if code == errno.EFBIG:
        return SinkError(
            f"{path} grew larger than this system allows a file to be",
            fix=f"raise the limit (ulimit -f) or process fewer frames ({option('--max-frames')})",
        )
    if code == errno.ENAMETOOLONG:
        return SinkError(
            f"cannot write {path}: this system has no names of that length", fix="shorten it"
        )
    if isinstance(exc, OSError) and code == errno.EROFS:
        return unwritable(path, exc, "")
    if code in (errno.EACCES, errno.EPERM):
        return SinkError(
            f"no permission to write {path}",
            fix="give a folder that you own, or change its permissions",
        )
    return SinkError(f"cannot write {path} ({reason(exc)})", fix="give another place")


def closed_before(path: Path) -> SinkError:
    """The error for whoever writes on after `close`."""
    return SinkError(f"cannot write {path}: it was closed before", fix="open another sink")


def _same(one: Path, other: Path) -> bool:
    """The same file or folder, also through links or on a system that ignores case."""
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()
