"""Files are refused early, written whole, or not at all."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roadseg.core.errors import SinkError
from roadseg.core.files import (
    claim_file,
    hidden_beside,
    is_special,
    whole_file,
    whole_files,
    write_bytes,
    write_json,
    writing,
)


def test_a_file_is_made_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for content in (b"first", b"second\n"):
        write_bytes(path, content)
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
        write_bytes(path, b"after")
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
        write_bytes(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["a" * 255, "ü" * 127, "a" + "\N{WORLD MAP}" * 63])
def test_names_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_bytes(path, b"content")
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


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "run.json"
    claim_file(path)
    assert not path.exists()
    write_json(path, {"fps": 25.5, "size_hw": (352, 480)})
    assert json.loads(path.read_text(encoding="utf-8")) == {"fps": 25.5, "size_hw": [352, 480]}
    assert os.listdir(path.parent) == ["run.json"]


def test_claiming_leaves_an_older_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")
    claim_file(path)
    assert path.read_text(encoding="utf-8") == "old"


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SinkError) as caught:
        claim_file(tmp_path)
    assert str(caught.value) == (
        f"cannot write {tmp_path}: it is a folder: give a file such as {tmp_path}/run.json"
    )


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "run.json"
    with pytest.raises(SinkError, match=f"^cannot write {path} .*file is no folder"):
        claim_file(path)


def test_a_name_that_is_too_long_is_refused_at_once(tmp_path: Path) -> None:
    for path in (tmp_path / f"{'x' * 251}.json", tmp_path / ("x" * 256) / "run.json"):
        with pytest.raises(SinkError, match="^cannot write .*ile name too long"):
            claim_file(path)
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_older_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "run.json"
    path.write_text("old")

    def full(self: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(SinkError) as caught:
        write_json(path, {})
    assert str(caught.value) == (
        f"cannot write {path} (No space left on device): "
        "give another name or free the space it needs"
    )
    assert os.listdir(tmp_path) == ["run.json"]
    assert path.read_text(encoding="utf-8") == "old"


def fail(path: Path, error: BaseException) -> None:
    path.write_bytes(b"half")
    raise error


def test_a_stream_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    with whole_file(path) as part, part.open("wb") as file:
        file.write(b"frames")
        assert part.name.startswith(".clip.mp4.")
        assert not path.exists()
    with pytest.raises(ValueError, match="^broken off$"), whole_file(path) as part:
        fail(part, ValueError("broken off"))
    assert path.read_bytes() == b"frames"
    with pytest.raises(SinkError) as caught, whole_file(path, fix="free some space") as part:
        fail(part, OSError(28, "No space left on device"))
    assert str(caught.value) == f"cannot write {path} (No space left on device): free some space"
    assert os.listdir(tmp_path) == ["clip.mp4"]


def test_files_that_belong_together_come_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[str] = []
    replace = Path.replace

    def record(self: Path, target: Path) -> Path:
        moved.append(target.name)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", record)
    with whole_files(tmp_path, last="a.json") as folder:
        for name in ("a.json", "b.bin", "c.xml"):
            (folder / name).write_text(name)
    assert moved[-1] == "a.json"
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.bin", "c.xml"]
    with pytest.raises(KeyboardInterrupt), whole_files(tmp_path, last="a.json") as folder:
        fail(folder / "a.json", KeyboardInterrupt())
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == "a.json"
    assert len(os.listdir(tmp_path)) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        claim_file(pipe)
        write_json(pipe, {"a": 1})
        assert json.loads(os.read(reader, 1000)) == {"a": 1}
    finally:
        os.close(reader)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_room_does_not_help_on_a_disk_that_takes_nothing() -> None:
    path = Path("/media/stick/a.json")
    for code, message in (
        (errno.EROFS, f"the disk of {path} is read-only: give a folder on another one"),
        (errno.ENOSPC, f"cannot write {path} (No space left on device): free some space"),
    ):
        with pytest.raises(SinkError) as caught, writing(path, "free some space"):
            raise OSError(code, os.strerror(code))
        assert str(caught.value) == message


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_and_the_file_behind_it_is_written(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "real"
    link = tmp_path / "link.json"
    link.symlink_to(folder / "run.json")
    if there:
        folder.mkdir()
        (folder / "run.json").write_text("old")
    claim_file(link)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert json.loads((folder / "run.json").read_text(encoding="utf-8")) == {"a": 1}
    assert sorted(os.listdir(tmp_path)) == ["link.json", "real"]
    assert os.listdir(folder) == ["run.json"]


OPEN_FILES = Path("/proc/self/fd")
needs_open_files = pytest.mark.skipif(
    not OPEN_FILES.is_dir(), reason="this system does not list what programs have open"
)

PRINTS = """
import sys
from pathlib import Path
from roadseg.core.files import claim_file, write_text
print("before")
claim_file(Path(sys.argv[1]))
write_text(Path(sys.argv[1]), "report\\n")
print("after")
"""


@needs_open_files
@pytest.mark.parametrize("links", [1, 2])
def test_standard_output_gets_a_report_among_what_is_printed(tmp_path: Path, links: int) -> None:
    link = tmp_path / "stdout"
    link.symlink_to(OPEN_FILES / "1")
    if links == 2:
        link = tmp_path / "mine"
        link.symlink_to("stdout")
    printed = tmp_path / "printed"
    with printed.open("wb") as file:
        subprocess.run([sys.executable, "-c", PRINTS, str(link)], stdout=file, check=True)
    assert printed.read_text(encoding="utf-8") == "before\nreport\nafter\n"
    assert link.is_symlink()
    assert len(list(tmp_path.iterdir())) == 1 + links


@needs_open_files
def test_an_open_file_of_another_program_is_written_to(tmp_path: Path) -> None:
    path, link = tmp_path / "theirs", tmp_path / "link"
    path.write_text("older and longer")
    with path.open("r+b") as file:
        program = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, stdout=file
        )
        try:
            link.symlink_to(f"/proc/{program.pid}/fd/1")
            inode = path.stat().st_ino
            assert is_special(link)
            write_bytes(link, b"new")
        finally:
            program.communicate(b"\n")
    assert path.read_bytes() == b"new"
    assert path.stat().st_ino == inode
    assert link.is_symlink()


def test_links_in_a_circle_are_no_devices(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert not is_special(tmp_path / "a")


def test_a_claim_in_a_folder_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SinkError, match="cannot write x.json"):
        claim_file(Path("x.json"))


def test_a_claim_behind_a_link_names_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link.json").symlink_to(tmp_path / "file" / "x.json")
    with pytest.raises(SinkError, match="link.json .*/file is no folder"):
        claim_file(tmp_path / "link.json")
