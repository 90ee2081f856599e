from __future__ import annotations

import os
from pathlib import Path

import pytest

from roadseg.core.whole_file import hidden_beside, replace_file


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second\n"):
        replace_file(path, content)
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        replace_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_what_was_there_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        replace_file(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127, "a" + "\N{WORLD MAP}" * 63])
def test_names_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    replace_file(path, b"content")
    assert path.read_bytes() == b"content"
    assert list(tmp_path.iterdir()) == [path]


def test_hidden_names_of_long_names_differ_and_begin_alike() -> None:
    one, other = Path("x" * 254 + "1"), Path("x" * 254 + "2")
    hidden = hidden_beside(one, ".part").name
    assert hidden.startswith("." + "x" * 200)
    assert hidden.startswith(hidden_beside(one, "").name)
    assert hidden != hidden_beside(other, ".part").name
    assert len(os.fsencode(hidden_beside(one, "." * 40).name)) == 255
    assert hidden_beside(Path("a/b.mp4"), ".7.part") == Path("a/.b.mp4.7.part")
