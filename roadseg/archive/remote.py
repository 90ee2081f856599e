"""Clips that lie elsewhere: `s3://`, `gs://`, `https://` and whatever else fsspec knows.

A clip is fetched to a local file, and that is removed after it: containers are read from both ends,
and frames in order, which a bucket answers slowly.
"""

from __future__ import annotations

import contextlib
import errno
import os
import posixpath
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from roadseg.archive.clip import Clip
from roadseg.core.errors import BackendError, SinkError, SourceError, first_line, os_reason
from roadseg.core.file_lock import FileLock
from roadseg.core.installing import install, is_installed

# What fsspec needs for a scheme, where that is one package.
_PACKAGES = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl"), "adlfs"),
    **dict.fromkeys(("http", "https"), "aiohttp"),
    **dict.fromkeys(("sftp", "ssh"), "paramiko"),
    "hdfs": "pyarrow",
    "hf": "huggingface_hub",
    "oci": "ocifs",
    "smb": "smbprotocol",
}
_MAGIC = re.compile("[*?[]")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that was found.

    Attributes:
        url: of it.
        name: what leads to it from the URL that was asked for, with forward slashes.
        bytes: its size; 0 where that is not known.
    """

    url: str
    name: str
    bytes: int


def is_remote(path: str) -> bool:
    """Whether a path is a URL that must be fetched; `file://` is local."""
    match = re.match("([A-Za-z][A-Za-z0-9+.-]+)(://|::)", path)
    return match is not None and match[1].lower() != "file"


def find_remote(url: str) -> list[RemoteFile]:
    """The files at a URL: one file, all below a folder, or what a pattern matches.

    Raises:
        SourceError: there are none, or the place does not answer.
        BackendError: a package is missing.
    """
    system, path = _system(url)
    with _errors(url):
        if _MAGIC.search(path):
            top = path[: _MAGIC.search(path).start()].rpartition("/")[0]  # type: ignore[union-attr]
            found = system.glob(path, detail=True)
            found = {each: info for each, info in found.items() if info["type"] == "file"}
        elif system.isdir(path):
            top, found = path, system.find(path, detail=True)
        else:
            top, found = posixpath.dirname(path), {path: system.info(path)}
        return [
            RemoteFile(
                # With the scheme that was given: fsspec has others of its own for some. Paths of
                # web pages are whole URLs.
                each if "://" in each else f"{url.partition('://')[0]}://{each}",
                posixpath.relpath(each, top or "/" if each.startswith("/") else top or "."),
                info.get("size") or 0,
            )
            for each, info in found.items()
        ]


@contextmanager
def opened(url: str, *, ahead_bytes: int = 0) -> Iterator[tuple[BinaryIO, int]]:
    """A remote file and its size, to read parts of it.

    Args:
        url: of it.
        ahead_bytes: how much is asked for at once, where parts are small and follow each other.

    Raises:
        SourceError: it cannot be read.
        BackendError: a package is missing.
    """
    system, path = _system(url)
    # By itself fsspec fetches megabytes ahead of each part.
    options = {"cache_type": "readahead", "block_size": ahead_bytes} if ahead_bytes else None
    with _errors(url), system.open(path, "rb", **(options or {"cache_type": "none"})) as file:
        yield file, system.size(path)


@contextmanager
def fetched(clip: Clip) -> Iterator[Clip]:
    """The same clip with local files; what had to be fetched is removed afterwards.

    Raises:
        SourceError: it cannot be fetched.
        SinkError: there is no room for it.
        BackendError: a package is missing.
    """
    if not any(map(is_remote, clip.files)):
        yield clip
        return
    with _scratch_folder() as folder:
        files = []
        for number, file in enumerate(clip.files):
            if is_remote(file):
                # Each in a folder of its own, with its name, which says how to read some.
                target = folder / str(number) / (posixpath.basename(file) or "clip")
                _fetch(file, target)
                file = str(target)
            files.append(file)
        yield replace(clip, path=files[0], parts=tuple(files) if clip.parts else ())


def _fetch(url: str, target: Path) -> None:
    system, path = _system(url)
    try:
        target.parent.mkdir()
        with _errors(url), system.open(path, "rb") as source, target.open("xb") as file:
            try:
                shutil.copyfileobj(source, file, 1 << 20)
                file.flush()
            except OSError as exc:
                if exc.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise _NoRoomError from exc
    except _NoRoomError:
        # Without its cause: it is not the archive's disk that is full.
        raise SinkError(
            f"no room in {tempfile.gettempdir()} to fetch {url}",
            fix="free some, or name another folder in TMPDIR",
        ) from None


class _NoRoomError(Exception):
    """The disk of temporary files is full."""


@contextmanager
def _scratch_folder() -> Iterator[Path]:
    """A temporary folder. Those that killed processes have left are removed first."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    top = Path(tempfile.gettempdir()) / f"roadseg-clips-{user}"
    try:
        top.mkdir(mode=0o700, exist_ok=True)
        for left in top.glob("*.lock"):
            _sweep(left)
        folder = top / secrets.token_hex(8)
        lock = FileLock(folder.with_suffix(".lock"))
        # Without locks nothing is swept either.
        with contextlib.suppress(OSError):
            lock.take()
        folder.mkdir(mode=0o700)
    except OSError as exc:
        raise SinkError(
            f"cannot write to {top} ({os_reason(exc)})", fix="name another folder in TMPDIR"
        ) from exc
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock.release()


def _sweep(left: Path) -> None:
    lock = FileLock(left)
    with contextlib.suppress(OSError):
        if lock.take():
            shutil.rmtree(left.with_suffix(""), ignore_errors=True)
            lock.release()


def _system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Raises:
        BackendError: a package is missing.
        SourceError: there is no such scheme.
    """
    if not is_installed("fsspec"):
        raise BackendError(f"{url} needs fsspec, which is not installed", fix=install("remote"))
    import fsspec

    scheme = url.partition("://")[0].lower()
    try:
        return fsspec.core.url_to_fs(url)  # type: ignore[no-any-return]
    except ImportError as exc:
        package = _PACKAGES.get(scheme)
        raise BackendError(
            f"{scheme}:// needs a package that is not installed ({first_line(exc)})",
            fix=f"pip install {package}" if package else "install it",
        ) from exc
    except ValueError as exc:
        raise SourceError(f"cannot read {url} ({first_line(exc)})", fix="check the URL") from exc


@contextmanager
def _errors(url: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as exc:
        raise SourceError(f"no such file: {url}", fix="check the URL") from exc
    except (SourceError, _NoRoomError):
        raise
    except Exception as exc:
        # Each service has errors of its own: no credentials, no bucket, no network.
        raise SourceError(
            f"cannot read {url} ({first_line(exc)})",
            fix="check the network, and what you may read there",
        ) from exc
