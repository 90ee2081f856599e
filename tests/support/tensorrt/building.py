"""What tests of the engine builder share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from roadseg.core.errors import (
    BackendError,
)

SIZE_HW = (64, 96)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != "cache")


def no_gpu() -> Any:
    raise BackendError("there is no NVIDIA driver (libcuda cannot be loaded)", fix="install it")
