"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Real clips and CamVid frames, which are not part of the project."""
    path = Path(os.environ.get("ROADSEG_DATA", ROOT.parent / "shared" / "data"))
    if not path.is_dir():
        pytest.skip(f"no real data: {path} is absent (set ROADSEG_DATA)")
    return path


@pytest.fixture(scope="session")
def camvid_dir(data_dir: Path) -> Path:
    """CamVid in the SegNet authors' layout."""
    return data_dir / "camvid"


@pytest.fixture(scope="session")
def video_dir(data_dir: Path) -> Path:
    """Two real clips."""
    return data_dir / "video"
