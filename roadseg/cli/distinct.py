"""Files that several options name: what one reads, another must not replace."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Named: TypeAlias = Sequence[tuple[str, str | Path | None]]
"""Options with their paths; None where one is not given."""


def check_distinct(*, read: Named, sources: Named, results: Named, reports: Named) -> None:
    """Refuse a file that is written and that another option names, too.

    Args:
        read: what is read beside the sources, such as a mask or a configuration.
        sources: what sinks compare results with themselves.
        results: pictures, masks and clips.
        reports: files that are written whole, in the order in which they are blamed.

    Raises:
        UsageError: a file has two options.
    """
    from roadseg.core.errors import UsageError

    taken = [(option, path) for option, path in read if path is not None]
    for i, (option, path) in enumerate([*results, *reports]):
        if i == len(results):
            taken += [(name, each) for name, each in (*sources, *results) if each is not None]
        if path is None:
            continue
        for other, other_path in taken:
            if _real(other_path) == _real(path):
                raise UsageError(
                    f"{option} {path} is also what {other} names", fix="give another file"
                )
        if i >= len(results):
            taken.append((option, path))


def file_or_none(name: str | None) -> str | None:
    """A model's file; None where it is the name of a shipped one."""
    return name if name is not None and os.path.isfile(name) else None


def _real(path: str | Path) -> str:
    path = os.path.expanduser(path)
    with contextlib.suppress(OSError):  # a relative path, and the current folder is gone
        path = os.path.realpath(path)
    return os.path.normcase(path)
