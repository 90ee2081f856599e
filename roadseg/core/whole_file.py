"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path

__all__ = ["hidden_beside", "replace_file"]

# What file systems take as a name, and what is kept of it for the ending of a hidden one: the same
# whatever the ending, so that all hidden files of a path begin alike.
_MAX_BYTES = 255
_ENDING_BYTES = 40


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: after a crash or on a full disk, what was there before still is.

    Args:
        path: in a folder that exists.
        content: all of it.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    temporary = hidden_beside(path, f".{os.getpid()}.part")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


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
