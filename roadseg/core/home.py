"""Paths below somebody's home folder: `~/recordings`."""

from __future__ import annotations

from pathlib import Path

from roadseg.core.errors import UsageError


def below_home(path: str | Path, what: str = "") -> Path:
    """The path, with its `~` or `~USER` filled in.

    Args:
        path: as it is written.
        what: it is, for messages.

    Raises:
        UsageError: there is no such user, or nobody knows where the home folder is, as in many
            containers.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as exc:
        raise UsageError(
            f"{what} {path}: there is no such home folder".lstrip(), fix="give the whole path"
        ) from exc
