"""Small clips, made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.clips import MakeClip, shade, write_clip


@pytest.fixture
def make_clip(tmp_path: Path) -> MakeClip:
    """`make_clip("a.mp4", frames=3, ...)`: see `write_clip`."""

    def make(name: str = "clip.mp4", **options: object) -> Path:
        return write_clip(tmp_path / name, **options)  # type: ignore[arg-type]

    return make


@pytest.fixture
def shade_of() -> Callable[[int], int]:
    """Grey level of frame i of a clip."""
    return shade
