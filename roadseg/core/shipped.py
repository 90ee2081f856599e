"""Files of the checkout that an installed roadseg has, too: `calibration/`, `samples/`, `docs/`.

In a checkout they lie beside the package. A wheel carries copies inside of it (see `setup.py`).
"""

from __future__ import annotations

from pathlib import Path

COPIES = "shipped_files"
"""The folder in the package that a wheel has them in."""

PACKAGE = Path(__file__).resolve().parent.parent
"""The folder of the package itself."""


def shipped_file(name: str) -> Path:
    """Where a file or folder lies that comes with roadseg; it may be missing.

    >>> shipped_file("samples/drive.mp4").name
    'drive.mp4'

    Args:
        name: as in the checkout: `samples/drive.mp4`.
    """
    copies = PACKAGE / COPIES
    return (copies if copies.is_dir() else PACKAGE.parent) / name


def shipped_copy(path: str | Path) -> Path | None:
    """Where a file lies that the documentation calls like this, and that is not there; or None.

    >>> shipped_copy("samples/dirve.mp4") is None
    True

    Args:
        path: as typed: `samples/drive.mp4`, in any folder but a checkout's.
    """
    parts = Path(path).parts
    if parts[:1] not in (("samples",), ("calibration",)) or ".." in parts:
        return None
    copy = shipped_file(str(Path(path)))
    return copy if copy.exists() else None


def page(name: str) -> str:
    """A page of the documentation, as a path from here if it lies below, for messages.

    >>> page("data.md")
    'docs/data.md'
    """
    path = shipped_file(f"docs/{name}")
    try:
        here = Path.cwd()
    except OSError:  # it is gone
        return str(path)
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
