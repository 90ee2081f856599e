"""Checks of what `--output` and `--save-masks` name, made before any work is done."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
from pathlib import Path

from roadseg.errors import SinkError
from roadseg.video.source import SourceInfo

__all__ = ["claim_file", "claim_folder", "replace_file", "write_failure"]


def claim_file(path: Path, source: SourceInfo, *, overwrite: bool) -> Path:
    """Make sure that `path` can be written, creating its folder where it is missing.

    Returns:
        A new, empty file beside it, hidden, to write into and to rename at the end. The target
        itself (or an older file there) is untouched until then.

    Raises:
        SinkError: it is the source, a folder, not to be overwritten, or cannot be created.
    """
    target = path.resolve()
    inputs = [Path(origin) for origin, _name in source.names]
    if source.path is not None:
        inputs.append(source.path)
    if any(_same(target, each) for each in inputs if not each.is_dir()):
        raise SinkError(f"--output {path} is the source itself: give the result another name")
    if target.is_dir():
        raise SinkError(f"--output {path} is a folder: give a file name such as {path / 'out.mp4'}")
    if target.exists() and not overwrite:
        raise SinkError(f"--output {path} exists: remove it or give another name")
    temporary = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(3)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Plain open and not tempfile, whose files nobody but the owner may read.
        with temporary.open("xb"):
            pass
    except OSError as exc:
        raise write_failure(path, exc) from exc
    return temporary


def claim_folder(
    folder: Path, source: SourceInfo, *, option: str, overwrite: bool, other: Path | None = None
) -> list[str]:
    """Make sure that files can be written into `folder`, creating it where it is missing.

    Args:
        folder: where PNGs will go.
        source: must not read images from that folder.
        option: for messages, `--output` or `--save-masks`.
        overwrite: whether PNGs that are there already may be replaced.
        other: another sink's folder or file, which must not be this one.

    Returns:
        Warnings, for example that older PNGs lie there.

    Raises:
        SinkError: it is the source's folder, a file, or cannot be written to.
    """
    target = folder.resolve()
    if any(_same(target, d) for d in source.input_dirs):
        raise SinkError(
            f"{option} {folder} is the folder that the source is read from: give another"
        )
    if other is not None and _same(target, other):
        raise SinkError(
            f"{option} {folder} is also the folder of --output: give each a folder of its own"
        )
    if target.exists() and not target.is_dir():
        raise SinkError(f"{option} {folder} is a file: give a folder")
    probe = target / f".{secrets.token_hex(4)}.part"
    try:
        target.mkdir(parents=True, exist_ok=True)
        with probe.open("xb"):
            pass
        probe.unlink()
        older = sum(1 for p in target.iterdir() if p.suffix == ".png")
    except OSError as exc:
        raise write_failure(folder, exc) from exc
    if not older:
        return []
    if not overwrite:
        raise SinkError(
            f"{option} {folder} holds {older} PNG files: empty it or give another folder"
        )
    return [f"{option} {folder} already holds {older} PNG files; those of equal name are replaced"]


def replace_file(temporary: Path, path: Path) -> None:
    """Put a finished file under its final name, in one step.

    Raises:
        SinkError: it cannot be renamed; the temporary file is removed.
    """
    try:
        os.replace(temporary, path.resolve())
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise write_failure(path, exc) from exc


def write_failure(path: Path, exc: BaseException) -> SinkError:
    """The error to raise for a failure of the system or of FFmpeg while writing `path`."""
    code = getattr(exc, "errno", None)
    if code in (errno.ENOSPC, errno.EDQUOT):
        return SinkError(f"the disk is full while writing {path}: free some space and run it again")
    if code == errno.EFBIG:
        return SinkError(
            f"{path} grew larger than this system allows a file to be: "
            "raise the limit (ulimit -f) or process fewer frames (--max-frames)"
        )
    if code in (errno.EACCES, errno.EPERM, errno.EROFS):
        return SinkError(
            f"no permission to write {path}: give a folder that you own, or change its permissions"
        )
    text = getattr(exc, "strerror", None) or str(exc) or type(exc).__name__
    return SinkError(f"cannot write {path}: {text[:1].lower()}{text[1:]}")


def _same(one: Path, other: Path) -> bool:
    """The same file or folder, also through links or on a system that ignores case."""
    try:
        return one.samefile(other)
    except OSError:
        return one.resolve() == other.resolve()
