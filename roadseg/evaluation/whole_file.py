"""Files that appear under their name only when they are complete."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from roadseg.errors import SinkError

__all__ = ["write_whole"]


def write_whole(path: Path, content: bytes, option: str) -> None:
    """Write a file in one step; what was there before stays until then.

    Args:
        path: its folder is created where it is missing.
        content: all of it.
        option: of the command line, which says where files go.

    Raises:
        SinkError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as exc:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise SinkError(
            f"cannot write {path}: {exc.strerror or exc}; free some space, or choose another "
            f"{option}"
        ) from exc
