"""Fixtures that every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
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


@pytest.fixture
def tiny_camvid(tmp_path: Path) -> Path:
    """Eight frames whose class follows from brightness: sky above, road below."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        (tmp_path / split).mkdir()
        lines = []
        for i in range(count):
            horizon = int(rng.integers(20, 44))
            labels = np.full((64, 96), 3, np.uint8)
            labels[:horizon] = 0
            image = np.where(labels[..., None] == 0, 220, 60).astype(np.uint8)
            image = image.repeat(3, axis=2) + rng.integers(0, 20, (64, 96, 3), dtype=np.uint8)
            cv2.imwrite(str(tmp_path / split / f"{i}.png"), image)
            cv2.imwrite(str(tmp_path / split / f"{i}_label.png"), labels)
            lines.append(f"{split}/{i}.png {split}/{i}_label.png")
        (tmp_path / f"{split}.txt").write_text("\n".join(lines))
    return tmp_path
