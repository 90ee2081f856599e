"""By what a clip is known: its content, whatever its name and its times are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from roadseg.archive.remote import is_remote, opened
from roadseg.core.errors import SourceError, unreadable
from roadseg.media.sources.images import images_in

_PART_BYTES = 256 * 1024
_BLOCK_BYTES = 1 << 20


def identity_of(file: str, *, full: bool = False) -> str:
    """See `identity`; of a URL just the parts are fetched that count.

    Raises:
        SourceError: it cannot be read.
        BackendError: it needs a package that is not installed.
    """
    if not is_remote(file):
        return identity(Path(file), full=full)
    with opened(file) as (source, size):
        return f"{'full' if full else 'quick'}-{_digest_of(source, size, full).hexdigest()}"


def identity(path: Path, *, full: bool = False) -> str:
    """Digest of a clip: `quick-` or `full-`, and 64 hexadecimal digits.

    The quick one is of its size and of 256 KiB each from head, middle and tail: a recording that
    differs from another one does so there. Of a folder of images it is that of all of them, with
    their names.

    Args:
        path: a file, or a folder of images.
        full: all of the content.

    Raises:
        SourceError: it cannot be read.
    """
    try:
        if path.is_dir():
            digest = hashlib.sha256()
            for image in images_in(path):
                digest.update(os.fsencode(image.name) + b"\0" + _digest(image, full).digest())
        else:
            digest = _digest(path, full)
    except OSError as exc:
        raise unreadable(SourceError, path, exc) from exc
    return f"{'full' if full else 'quick'}-{digest.hexdigest()}"


def joint_identity(identities: Iterable[str], *, full: bool = False) -> str:
    """That of a drive: of its files' identities, in order."""
    digest = hashlib.sha256("\n".join(identities).encode())
    return f"{'full' if full else 'quick'}-{digest.hexdigest()}"


def size_of(path: Path) -> int:
    """Bytes of a clip; 0 where it cannot be read, which opening it will say."""
    try:
        if path.is_dir():
            return sum(image.stat().st_size for image in images_in(path))
        return path.stat().st_size
    except OSError:
        return 0


def _digest(path: Path, full: bool) -> hashlib._Hash:
    with path.open("rb") as file:
        return _digest_of(file, os.fstat(file.fileno()).st_size, full)


def _digest_of(file: BinaryIO, size: int, full: bool) -> hashlib._Hash:
    digest = hashlib.sha256(size.to_bytes(8, "big"))
    if full or size <= 3 * _PART_BYTES:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
        return digest
    for start in (0, (size - _PART_BYTES) // 2, size - _PART_BYTES):
        file.seek(start)
        digest.update(file.read(_PART_BYTES))
    return digest
