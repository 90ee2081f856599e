"""The page that shows the house names the rooms and the files that there are."""

from __future__ import annotations

import re

from tests.support import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text("utf-8")
HOUSE = ROOT / "roadseg"


def test_table_and_picture_name_every_room() -> None:
    rooms = {path.name for path in HOUSE.iterdir() if (path / "__init__.py").exists()}
    rooms.remove("testing")
    assert set(re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)) == rooms
    picture = PAGE.split("```")[1]
    assert rooms <= set(re.findall(r"\w+", picture))


def test_files_that_it_names_are_there() -> None:
    files = re.findall(r"`([\w/]+\.py)`", PAGE)
    assert len(files) > 10
    folders = (HOUSE, HOUSE / "live", HOUSE / "media")  # the table names files of its rooms
    missing = [file for file in files if not any((folder / file).is_file() for folder in folders)]
    assert missing == []
