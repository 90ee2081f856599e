"""Clips at URLs: found, known by their content, fetched, and gone again."""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from roadseg.archive import remote
from roadseg.archive.clip import Clip
from roadseg.archive.drives.join import join_clips
from roadseg.archive.finding import find_clips
from roadseg.archive.identity import identity, identity_of
from roadseg.archive.ledger import archive_rows
from roadseg.archive.process import ClipWorker, process_clip
from roadseg.archive.remote import fetched, is_remote
from roadseg.archive.run import process_archive
from roadseg.archive.spec import ArchiveSpec, ClipSpec
from roadseg.core.errors import BackendError, SinkError, SourceError
from roadseg.loading.choice import Choice
from tests.archive.test_process import digests
from tests.support.clips import write_clip

fsspec = pytest.importorskip("fsspec", reason="needs fsspec: pip install 'roadseg[remote]'")


@pytest.fixture
def bucket(clips: Path) -> Iterator[str]:
    """The clips in memory, where no path leads to."""
    system = fsspec.filesystem("memory")
    system.put(f"{clips}/", "/bucket/cam", recursive=True)
    yield "memory://bucket/cam"
    system.rm("/bucket", recursive=True)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary files."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def names(*sources: str, **more: list[str]) -> list[str]:
    return [clip.name for clip in find_clips(sources, Path("elsewhere"), **more).clips]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("s3://bucket/a.mp4", True),
        ("gs://bucket", True),
        ("file:///a.mp4", False),
        ("C://a.mp4", False),
        ("a/b.mp4", False),
    ],
)
def test_a_url_is_told_from_a_path(path: str, expected: bool) -> None:
    assert is_remote(path) is expected


def test_folders_files_patterns_and_lists_are_named_like_local_ones(
    bucket: str, clips: Path
) -> None:
    assert sorted(names(bucket)) == sorted(names(str(clips)))
    assert names(f"{bucket}/e.mp4") == ["e"]
    assert names(f"{bucket}/*/a.mp4") == names(f"{clips}/*/a.mp4") == ["day1/a", "day2/a"]
    assert names(f"{bucket}/day1/*") == ["a", "b", "c"]
    assert names(listed=[f"{bucket}/day1/a.mp4"]) == ["bucket/cam/day1/a"]
    assert names(bucket, f"{bucket}/e.mp4", bucket) == names(bucket)
    found = {clip.name: clip for clip in find_clips([bucket], Path("x")).clips}
    assert found["e"].path == f"{bucket.replace('://', ':///')}/e.mp4"
    assert found["e"].bytes == (clips / "e.mp4").stat().st_size


def test_the_same_content_has_the_same_identity(bucket: str, clips: Path) -> None:
    data = bytes(range(256)) * 8192
    (clips / "big.mp4").write_bytes(data)
    fsspec.filesystem("memory").pipe("/bucket/cam/big.mp4", data)
    for full in (False, True):
        assert identity_of(f"{bucket}/big.mp4", full=full) == identity(clips / "big.mp4", full=full)


def test_results_are_the_same_and_nothing_stays_behind(
    bucket: str, clips: Path, spec: ClipSpec, tmp_path: Path, scratch: Path
) -> None:
    near = process_clip(clips / "e.mp4", spec)
    expected = digests(spec.output / "e")
    shutil.rmtree(spec.output)
    far = process_clip(f"{bucket}/e.mp4", spec)
    assert (far.state, far.clip, far.identity) == ("done", f"{bucket}/e.mp4", near.identity)
    found = digests(spec.output / "e")
    del expected["clip.json"], found["clip.json"]  # the path is in there
    assert found == expected
    assert [path for path in scratch.rglob("*") if path.is_file()] == []
    broken = process_clip(f"{bucket}/day2/empty.mp4", spec)
    assert (broken.state, broken.exit_code) == ("failed", 3)
    assert broken.error.startswith(f"{bucket}/day2/empty.mp4 ")


def test_an_archive_of_urls_is_done_once_and_again_where_content_changes(
    bucket: str, clips: Path, spec: ClipSpec
) -> None:
    archive = ArchiveSpec((f"{bucket}/day1",), spec, workers=1)
    system = fsspec.filesystem("memory")
    done: list[str] = []

    class Inline:
        """One worker in this process: what is in memory is seen by no other."""

        is_free = True

        def __init__(self, spec: ClipSpec, count: int, choice: Choice) -> None:
            self.clips: tuple[Clip, ...] = ()

        def take(self, clip: Clip) -> None:
            self.clips += (clip,)

        def answers(self, timeout_s: float) -> list[object]:
            taken, self.clips = self.clips, ()
            done.extend(clip.name for clip in taken)
            return [process_clip(clip.path, spec, clip.name) for clip in taken]

        def withdraw(self) -> tuple[Clip, ...]:
            return ()

        def close(self) -> None:
            pass

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roadseg.archive.run.Workers", Inline)
        assert process_archive(archive).done == 3
        assert process_archive(archive).processed == 0
        system.pipe("/bucket/cam/day1/b.mkv", (clips / "e.mp4").read_bytes())
        assert process_archive(archive).done == 3
    assert done == ["a", "b", "c", "b"]
    assert {row.clip for row in archive_rows(spec.output)} == {
        f"memory:///bucket/cam/day1/{name}" for name in ("a.mp4", "b.mkv", "c.avi")
    }


def test_what_a_killed_process_has_left_is_removed(bucket: str, scratch: Path) -> None:
    clip = Clip(f"{bucket}/e.mp4", "e")
    with fetched(clip) as local:
        (top,) = scratch.iterdir()
        left = top / "0123456789abcdef"
        left.mkdir()
        (left / "part.mp4").touch()
        left.with_suffix(".lock").touch()
        with fetched(clip) as other:
            assert not left.exists()
            assert Path(other.path).is_file()
            assert Path(local.path).is_file()  # this one is at work
        assert not Path(other.path).exists()


def test_no_room_for_a_clip_is_an_error_of_that_clip(
    bucket: str, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(remote.shutil, "copyfileobj", full)
    refusal = pytest.raises(SinkError, match="no room in .* to fetch memory://.*TMPDIR")
    with refusal as caught, fetched(Clip(f"{bucket}/e.mp4", "e")):
        raise AssertionError("it was fetched")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("url", "error", "message"),
    [
        ("memory://none/a.mp4", SourceError, "no such file: memory://none/a.mp4"),
        ("nonsense://a.mp4", SourceError, "cannot read nonsense://a.mp4"),
    ],
)
def test_bad_urls_say_what_is_wrong(url: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        names(url)


@pytest.mark.parametrize(
    ("url", "package"), [("s3://bucket/a.mp4", "s3fs"), ("gs://bucket/a.mp4", "gcsfs")]
)
def test_a_scheme_without_its_package_names_it(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BackendError, match=f"not installed.*: pip install {package}$"):
        names(url)


def test_fsspec_itself_is_named_by_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(BackendError, match=r"pip install 'roadseg\[remote\]'"):
        names("s3://bucket/a.mp4")


def test_remote_clips_of_one_drive_are_joined_like_local_ones(
    spec: ClipSpec, tmp_path: Path, scratch: Path
) -> None:
    card = tmp_path / "card"
    card.mkdir()
    # Headers at the end, as recorders write them, and at the front.
    for second, at_front in ((0, False), (2, True), (4, False)):
        write_clip(card / f"20250101_12000{second}.mp4", frames=50, faststart=at_front)
    write_clip(card / "20250102_090000.mp4", frames=5)
    (card / "20250101_120006.mp4").write_bytes(b"no video")
    system = fsspec.filesystem("memory")
    system.put(f"{card}/", "/card", recursive=True)
    try:
        near = join_clips(find_clips([str(card)], tmp_path / "x").clips)
        far = join_clips(find_clips(["memory://card"], tmp_path / "x").clips)
        assert [clip.part_names for clip in far] == [clip.part_names for clip in near]
        assert [len(clip.files) for clip in far] == [3, 1, 1]
        assert far[0].parts[0] == "memory:///card/20250101_120000.mp4"
        with ClipWorker(spec) as worker:
            expected = digests(spec.output / worker(near[0]).name)
            result = worker(far[0])
        assert (result.state, result.frames_out, result.parts) == ("done", 150, far[0].parts)
    finally:
        system.rm("/card", recursive=True)
    found = digests(spec.output / result.name)
    del expected["clip.json"], found["clip.json"]  # the paths are in there
    assert found == expected
    assert [path for path in scratch.rglob("*") if path.is_file()] == []


def test_warnings_of_a_fetched_drive_name_its_urls_and_are_the_same_each_time(
    spec: ClipSpec, tmp_path: Path, scratch: Path
) -> None:
    card = tmp_path / "card"
    card.mkdir()
    for second in (0, 2, 4):
        write_clip(card / f"20250101_12000{second}.mp4", frames=50)
    lost = card / "20250101_120002.mp4"
    data = bytearray(lost.read_bytes())
    start, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
    data[start:end] = bytes(end - start)
    lost.write_bytes(data)
    system = fsspec.filesystem("memory")
    system.put(f"{card}/", "/card", recursive=True)
    try:
        drive = join_clips(find_clips(["memory://card"], tmp_path / "x").clips)[0]
        with ClipWorker(spec) as worker:
            first = worker(drive)
            before = digests(spec.output / first.name)
            shutil.rmtree(spec.output / first.name)
            again = worker(drive)
    finally:
        system.rm("/card", recursive=True)
    assert (first.state, len(drive.parts)) == ("done", 3)
    assert "goes on without memory:///card/20250101_120002.mp4: memory:///card/" in (
        " ".join(first.warnings)
    )
    assert first.warnings == again.warnings
    assert before == digests(spec.output / again.name)
