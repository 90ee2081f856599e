"""A clip is known by its content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadseg.archive.identity import identity, joint_identity
from roadseg.core.errors import SourceError

MIB = 1 << 20


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(np.random.default_rng(0).bytes(2 * MIB))
    return path


def change(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("at", [0, MIB, 2 * MIB - 1])
def test_head_middle_and_tail_count(clip: Path, at: int) -> None:
    before = identity(clip)
    change(clip, at)
    assert identity(clip) != before


def test_all_of_it_counts_where_that_is_asked_for(clip: Path) -> None:
    quick, full = identity(clip), identity(clip, full=True)
    assert quick.startswith("quick-")
    assert full.startswith("full-")
    change(clip, 400 * 1024)
    assert identity(clip) == quick
    assert identity(clip, full=True) != full


def test_name_and_times_do_not_count_and_the_size_does(clip: Path, tmp_path: Path) -> None:
    before = identity(clip)
    moved = clip.rename(tmp_path / "other.mp4")
    assert identity(moved) == before
    moved.write_bytes(b"")
    empty = identity(moved)
    moved.write_bytes(b"\0")
    assert identity(moved) != empty


def test_a_folder_of_images_is_known_by_all_of_them(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.png").write_bytes(b"x")
    before = identity(tmp_path)
    (tmp_path / "2.png").rename(tmp_path / "3.png")
    assert identity(tmp_path) != before


def test_a_drive_is_known_by_its_files_in_order() -> None:
    assert joint_identity(["quick-1", "quick-2"]) != joint_identity(["quick-2", "quick-1"])


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read"):
        identity(tmp_path / "none.mp4")
