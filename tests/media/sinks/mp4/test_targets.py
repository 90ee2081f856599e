"""Where an mp4 is written to: links, folders, and names that are refused before any work."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.core.errors import SinkError, UsageError
from roadseg.media.sinks.sink import NullSink, Sink, open_sink
from roadseg.media.sources.base import SourceInfo
from tests.support.mp4 import INFO, MakeClip, frame_at, grey, leftovers, read_back

pytestmark = pytest.mark.usefixtures("as_typed")


@pytest.mark.parametrize("name", ["x" * 252 + ".mp4", "x" * 256, "x" * 256 + "/out.mp4"])
def test_a_name_that_is_too_long_is_refused_at_once(tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match="no names of that length"):
        open_sink(tmp_path / name, INFO)
    assert leftovers(tmp_path) == []


class TestTargets:
    """Refused before any work is done."""

    def refused(self, output: Path, info: SourceInfo = INFO, **options: bool) -> str:
        with pytest.raises(SinkError) as caught:
            open_sink(output, info, **options)
        return str(caught.value)

    def test_the_source_itself(self, tmp_path: Path, make_clip: MakeClip) -> None:
        clip = make_clip(frames=1)
        before = clip.read_bytes()
        link = tmp_path / "link.mp4"
        link.symlink_to(clip)
        info = replace(INFO, path=clip)
        for name in (clip, tmp_path / "x" / ".." / clip.name, link):
            assert self.refused(name, info) == (
                f"--output {name} is the source itself: give the result another name"
            )
        assert clip.read_bytes() == before

    def test_a_folder(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        out.mkdir()
        assert self.refused(out) == (
            f"--output {out} is a folder: give a file name such as {out / 'out.mp4'}"
        )

    def test_existing_file_only_if_asked_for(self, tmp_path: Path) -> None:
        out = tmp_path / "out.mp4"
        out.write_bytes(b"earlier")
        assert self.refused(out, overwrite=False) == (
            f"--output {out} exists: remove it or give another name"
        )
        open_sink(out, INFO).close(ok=False)
        assert out.read_bytes() == b"earlier"

    def test_missing_folders_are_made(self, tmp_path: Path) -> None:
        sink = open_sink(tmp_path / "a" / "b" / "out.mp4", INFO)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert leftovers(tmp_path / "a" / "b") == ["out.mp4"]

    def test_folder_that_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        out = tmp_path / "file" / "out.mp4"
        assert self.refused(out).startswith(f"cannot write {out} (")

    @pytest.mark.parametrize(
        ("code", "text"),
        [
            (
                13,
                "no permission to write {}: give a folder that you own, or change its permissions",
            ),
            (30, "the disk of {} is read-only: give a folder on another one"),
            (28, "the disk is full while writing {}: free some space and run it again"),
            (36, "cannot write {}: this system has no names of that length: shorten it"),
        ],
    )
    def test_folder_that_refuses(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, text: str
    ) -> None:
        def deny(self: Path, *_: object, **__: object) -> None:
            raise OSError(code, os.strerror(code), str(self))

        monkeypatch.setattr(Path, "open", deny)
        out = tmp_path / "out.mp4"
        assert self.refused(out) == text.format(out)

    @pytest.mark.parametrize(("name", "better"), [("a.avi", "a.mp4"), ("a.MKV", "a.mp4")])
    def test_other_containers(self, tmp_path: Path, name: str, better: str) -> None:
        with pytest.raises(UsageError) as caught:
            open_sink(tmp_path / name, INFO)
        assert str(caught.value) == (
            f"cannot write {Path(name).suffix} files: use --output {tmp_path / better}"
        )

    def test_single_image(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError) as caught:
            open_sink(tmp_path / "a.png", INFO)
        assert str(caught.value) == (
            "cannot write several frames into a single image: "
            f"give a folder, --output {tmp_path / 'a'}"
        )

    def test_symbolic_link_keeps_leading_to_the_new_file(self, tmp_path: Path) -> None:
        real, link = tmp_path / "real.mp4", tmp_path / "link.mp4"
        link.symlink_to(real)
        sink = open_sink(link, INFO)
        sink.write(grey(9), frame_at(0))
        sink.close(ok=True)
        assert link.is_symlink()
        assert len(read_back(real)) == 1


def test_null_sink_counts() -> None:
    sink = open_sink(None, INFO)
    assert isinstance(sink, NullSink)
    assert isinstance(sink, Sink)
    sink.write(grey(1), frame_at(0))
    sink.close(ok=True)
    assert (sink.frames_out, sink.path, sink.warnings) == (1, None, [])
