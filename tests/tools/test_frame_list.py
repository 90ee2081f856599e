"""The list of frames that INT8 ranges are measured on."""

from __future__ import annotations

from pathlib import Path

from tools.frame_list import FRAME_LIST, write_frame_list


def test_the_list_that_ships_follows_its_rule(camvid_dir: Path, tmp_path: Path) -> None:
    assert write_frame_list(tmp_path / "frames.txt", camvid_dir) == 92
    assert (tmp_path / "frames.txt").read_text(encoding="utf-8") == FRAME_LIST.read_text(
        encoding="utf-8"
    )
