"""Names of results that nobody has named: safe, like their source, and never taken."""

from __future__ import annotations

import os
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.types import Frame
from roadseg.media.sinks.default_output import default_name, open_default_sink
from roadseg.media.sources.base import SourceInfo

PICTURE = np.zeros((48, 64, 3), np.uint8)


def video(path: Path | None, name: str = "") -> SourceInfo:
    return SourceInfo(name or str(path), "file", (48, 64), Fraction(10), 12, False, path)


def pictures(path: Path | None, *folders: Path, count: int | None = 3) -> SourceInfo:
    info = SourceInfo(str(path), "images", (48, 64), Fraction(25), count, False, path)
    return replace(info, input_dirs=folders)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/dashcam.mp4", "dashcam"),
        ("2024.11.26 drive.MP4", "2024.11.26 drive"),
        ("-rf.mp4", "rf"),
        (".hidden.mp4", "hidden"),
        (".mp4", "mp4"),
        ("....mp4", "video"),
        ("Drive of 26.November", "Drive of 26.November"),
        ("line\nend\x1b[31m.mp4", "line_end_[31m"),
        ("back\\slash:colon.mp4", "back_slash_colon"),
        ("txt.exe\u202egpm.mp4", "txt.exe_gpm"),
        ("not\udcffutf8.mp4", "not_utf8"),
        ("Strasse ßü 東京.mkv", "Strasse ßü 東京"),
    ],
)
def test_names_of_files(path, name):
    assert default_name(video(Path(path))) == name


@pytest.mark.parametrize("letter", ["a", "ü", "東", "\U0001f697"])
def test_names_are_short_enough_for_every_file_system(tmp_path, letter):
    info = video(Path(letter * (250 // len(letter.encode())) + ".mp4"))
    sink = open_default_sink(info, tmp_path)
    sink.write(PICTURE, Frame(PICTURE, 0, 0.0, 0.0))
    sink.close(ok=True)
    (written,) = os.listdir(tmp_path)
    assert 200 < len(os.fsencode(written)) <= 255
    assert written.endswith("-roadseg.mp4")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://h/drives/monday.mp4", "monday"),
        ("https://h/drives/monday.mp4/", "monday"),
        ("https://***@h/monday%20am.mp4?token=***&x=1", "monday am"),
        ("https://h/..%2F..%2Fetc%2Fpasswd", "_.._etc_passwd"),
        ("https://h/a%3Ftoken=abc", "a"),
        ("https://h/a%0Ab.mp4", "a_b"),
        ("https://h/user=***_channel=1.mp4", "user=____channel=1"),
        ("https://h/watch?v=clip.mp4", "watch"),
        ("https://h:8080", "video"),
        ("https://h/?file=x.mp4", "video"),
        ("https://h/%00", "_"),
    ],
)
def test_names_of_urls(url, name):
    assert default_name(video(None, url)) == name


def test_names_of_pictures(tmp_path):
    folder = tmp_path / "my drive v1.2"
    folder.mkdir()
    assert default_name(pictures(folder)) == "my drive v1.2"
    assert default_name(pictures(folder / ".." / folder.name)) == "my drive v1.2"
    assert default_name(pictures(Path("/"))) == "pictures"
    assert default_name(pictures(folder / "photo.one.jpg")) == "photo.one"
    assert default_name(pictures(None, folder)) == "my drive v1.2"
    assert default_name(pictures(None, folder / "x", folder / "y")) == "my drive v1.2"


@pytest.mark.parametrize(
    ("source", "suffix"),
    [
        (video(Path("x.mp4")), ".mp4"),
        (pictures(Path("x.png"), count=1), ".png"),
        (pictures(Path("x.png"), count=None), ""),
        (pictures(Path("x.v1"), count=3), ""),
    ],
)
def test_nothing_is_replaced_and_names_in_use_are_left_alone(tmp_path, source, suffix):
    (tmp_path / f"x-roadseg{suffix}").write_text("mine")
    (tmp_path / f"x-roadseg-2{suffix}").symlink_to("nowhere")
    open_at_once = [open_default_sink(source, tmp_path) for _ in range(3)]
    names = [sink.path.name for sink in open_at_once]
    assert names == [f"x-roadseg-{number}{suffix}" for number in (3, 4, 5)]
    for sink in open_at_once:
        sink.write(PICTURE, Frame(PICTURE, 0, 0.0, 0.0))
        sink.close(ok=True)
    after = open_default_sink(source, tmp_path)
    assert after.path.name == f"x-roadseg-6{suffix}"
    after.close(ok=False)
    assert (tmp_path / f"x-roadseg{suffix}").read_text(encoding="utf-8") == "mine"


def test_a_file_that_appears_while_the_lock_is_taken_is_not_replaced(tmp_path, monkeypatch):
    from roadseg.media.sinks import targets

    take = targets.lock_target

    def late(file, what):
        if "x-roadseg.mp4" in what:
            (tmp_path / "x-roadseg.mp4").write_text("of the run that has just ended")
        return take(file, what)

    monkeypatch.setattr(targets, "lock_target", late)
    sink = open_default_sink(video(Path("x.mp4")), tmp_path)
    assert sink.path == tmp_path / "x-roadseg-2.mp4"
    sink.close(ok=False)
    assert os.listdir(tmp_path) == ["x-roadseg.mp4"]


def test_what_cannot_be_written_is_no_reason_for_another_number(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("roadseg.media.sinks.targets.new_part", refuse)
    with pytest.raises(SinkError, match="no permission to write .*x-roadseg.mp4"):
        open_default_sink(video(Path("x.mp4")), tmp_path)
