"""Where roadseg keeps what it can make again: compiled kernels, engines, timing caches."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from roadseg.core.files import write_bytes


def user_cache_dir() -> Path:
    """The folder: `$ROADSEG_CACHE`, or the system's folder for caches (`~/.cache/roadseg`).

    It may not exist yet. A variable that is set to nothing counts as not set, and so does a
    relative `$XDG_CACHE_HOME`, as the XDG specification wants.
    """
    own = os.environ.get("ROADSEG_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    import platformdirs

    return platformdirs.user_cache_path("roadseg", appauthor=False)


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
