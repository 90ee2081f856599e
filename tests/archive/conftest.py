"""A folder of tiny clips, some of them broken."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from roadseg.archive.spec import ClipSpec
from tests.support.clips import write_clip

GOOD = ("day1/a.mp4", "day1/b.mkv", "day1/c.avi", "day2/a.mp4", "day2/d.ts", "e.mp4")
BROKEN = ("day2/empty.mp4", "day2/no-index.mp4")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("archive") / "clips"
    for number, name in enumerate(GOOD):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        codec = "mjpeg" if name.endswith(".avi") else "libx264"
        size_hw = (48, 64) if number % 2 else (72, 96)
        audio = "aac" if name == "e.mp4" else None
        write_clip(folder / name, frames=5 + number, size_hw=size_hw, codec=codec, audio=audio)
    (folder / "day2" / "empty.mp4").touch()
    data = (folder / "e.mp4").read_bytes()
    (folder / "day2" / "no-index.mp4").write_bytes(data[: len(data) // 2])
    (folder / "day1" / "notes.txt").write_text("no clip")
    return folder


@pytest.fixture
def clips(made: Path, tmp_path: Path) -> Path:
    """Of each test its own."""
    return Path(shutil.copytree(made, tmp_path / "clips"))


@pytest.fixture
def spec(tmp_path: Path) -> ClipSpec:
    return ClipSpec(tmp_path / "out", writes=("overlay", "png-masks", "timeline"), backend="fake")
