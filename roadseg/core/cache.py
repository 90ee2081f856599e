"""Where roadseg keeps what it can make again: compiled kernels, engines, timing caches."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["user_cache_dir"]


def user_cache_dir() -> Path:
    """The folder: `$ROADSEG_CACHE`, `$XDG_CACHE_HOME/roadseg` or `~/.cache/roadseg`.

    It may not exist yet. A variable that is set to nothing counts as not set, and so does a
    relative `$XDG_CACHE_HOME`, as the XDG specification wants.
    """
    own = os.environ.get("ROADSEG_CACHE")
    if own:
        return Path(own).expanduser().absolute()
    xdg = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if xdg.is_absolute():
        return xdg / "roadseg"
    # Not `Path.home()`: it raises where the account has no home; then the path is simply unusable.
    return Path(os.path.expanduser("~/.cache/roadseg"))
