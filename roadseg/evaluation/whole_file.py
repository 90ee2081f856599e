"""Files of a report or a comparison."""

from __future__ import annotations

from pathlib import Path

from roadseg.core.errors import SinkError, os_reason
from roadseg.core.whole_file import replace_file

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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    except OSError as exc:
        raise SinkError(
            f"cannot write {path}: {os_reason(exc)}",
            fix=f"free some space, or choose another {option}",
        ) from exc
