"""Where roadseg keeps what it can make again: compiled kernels, engines, timing caches."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from pathlib import Path

from roadseg.core.errors import UsageError, os_reason
from roadseg.core.files import write_bytes
from roadseg.core.home import below_home

# Nobody but root can make it.
_NOWHERE = Path("/nonexistent/roadseg")


def user_cache_dir() -> Path:
    """The folder: `$ROADSEG_CACHE`, or the system's folder for caches (`~/.cache/roadseg`).

    It may not exist yet. A variable that is set to nothing counts as not set, and so does a
    relative `$XDG_CACHE_HOME`, as the XDG specification wants. Users without a home folder, as in
    many containers, have a folder of their own among the temporary files.

    Raises:
        UsageError: `$ROADSEG_CACHE` leads nowhere.
    """
    own = os.environ.get("ROADSEG_CACHE")
    if own:
        try:
            return below_home(own, "ROADSEG_CACHE").absolute()
        except OSError as exc:
            raise UsageError(
                f"ROADSEG_CACHE {own} is below the current folder, which is gone "
                f"({os_reason(exc)})",
                fix="give the whole path",
            ) from exc
    import platformdirs

    try:
        found = platformdirs.user_cache_path("roadseg", appauthor=False)
    except RuntimeError:
        return _without_home()
    return found if found.is_absolute() else _without_home()


def _without_home() -> Path:
    """A folder of the user's among the temporary files. What somebody else has put there under its
    name is not used: compiled programs are read from a cache."""
    user = os.getuid() if hasattr(os, "getuid") else 0
    try:
        folder = Path(tempfile.gettempdir()) / f"roadseg-cache-{user}"
        folder.mkdir(mode=0o700, exist_ok=True)
        facts = folder.lstat()
    except OSError:
        return _NOWHERE
    is_own = stat.S_ISDIR(facts.st_mode) and facts.st_uid == user and not facts.st_mode & 0o022
    return folder if is_own else _NOWHERE


def keep_in_cache(path: Path, content: bytes) -> bool:
    """Keep what can be made again; where it cannot be written, the next start is slower.

    Args:
        path: below `user_cache_dir()`; folders are created.
        content: all of it.

    Returns:
        Whether it is there now.
    """
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content, durable=False)
        return True
    return False
