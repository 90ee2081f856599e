"""A user's own file or folder that Python finds instead of an installed package.

`tensorrt.py` beside a script, say: the import then fails with a message about missing attributes
that says nothing about the cause.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

_INSTALLED = ("site-packages", "dist-packages")


def shadowing_path(package: str) -> Path | None:
    """The file, or the folder with an `__init__.py`, that hides `package` from this process.

    Nothing is imported. A plain folder hides nothing: an installed package wins over it, wherever
    it is.

    Args:
        package: a top-level name: `tensorrt`.

    Returns:
        What is in the way; None if the package is the installed one or is not there.
    """
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        # Half-imported, or put into `sys.modules` without a spec.
        return None
    if spec is None or spec.origin is None or not spec.has_location:
        return None
    file = Path(spec.origin)
    found = file.parent if file.stem == "__init__" else file
    return None if _is_installed(found) else found


def local_shadow(package: str, folder: Path) -> Path | None:
    """What in `folder` would hide `package` from a script that runs there.

    Unlike `shadowing_path` this sees what is not in the way of this process, because an installed
    command, unlike `python -m`, does not look for modules in the working folder.
    """
    return next((path for path in _candidates(package, folder) if path.is_file()), None)


def _candidates(package: str, folder: Path) -> Iterator[Path]:
    yield folder / package / "__init__.py"
    yield folder / f"{package}.py"


def _is_installed(found: Path) -> bool:
    parent = found.parent
    if any(part in _INSTALLED for part in parent.parts):
        return True
    # Whatever its folder's name, an installer left its records beside it.
    return any(parent.glob("*.dist-info")) or any(parent.glob("*.egg-info"))
