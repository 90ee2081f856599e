"""Data sets: the real ones where they are, and small ones made on the spot."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support import ROOT


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


def write_tiny_camvid(folder: Path) -> Path:
    """Eight frames whose class follows from brightness: sky above, road below."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 2)):
        (folder / split).mkdir()
        lines = []
        for i in range(count):
            horizon = int(rng.integers(20, 44))
            labels = np.full((64, 96), 3, np.uint8)
            labels[:horizon] = 0
            image = np.where(labels[..., None] == 0, 220, 60).astype(np.uint8)
            image = image.repeat(3, axis=2) + rng.integers(0, 20, (64, 96, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / split / f"{i}.png"), image)
            cv2.imwrite(str(folder / split / f"{i}_label.png"), labels)
            lines.append(f"{split}/{i}.png {split}/{i}_label.png")
        (folder / f"{split}.txt").write_text("\n".join(lines))
    return folder


@pytest.fixture
def tiny_camvid(tmp_path: Path) -> Path:
    """See `write_tiny_camvid`."""
    return write_tiny_camvid(tmp_path)


@pytest.fixture
def tiny_farm(tmp_path: Path) -> Path:
    """Eight frames of one's own three classes: dark track, grey field, bright sky."""
    rng = np.random.default_rng(0)
    root = tmp_path / "farm"
    for split, count in (("train", 6), ("val", 2)):
        for folder in ("images", "labels"):
            (root / split / folder).mkdir(parents=True)
        for i in range(count):
            labels = np.full((64, 96), 1, np.uint8)
            labels[: int(rng.integers(16, 28))] = 2
            labels[int(rng.integers(40, 60)) :] = 0
            image = np.array([40, 120, 220], np.uint8)[labels][..., None].repeat(3, axis=2)
            labels[:2] = 255  # void
            image = image + rng.integers(0, 20, image.shape, dtype=np.uint8)
            cv2.imwrite(str(root / split / "images" / f"{i}.png"), image)
            cv2.imwrite(str(root / split / "labels" / f"{i}.png"), labels)
    (root / "classes.txt").write_text("track 90 60 30\nfield 60 140 40  # of any crop\nsky\n")
    return root
