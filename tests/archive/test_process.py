"""One clip, from its file to its folder."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import av
import pyarrow.parquet
import pytest

from roadseg.archive.clip import Clip
from roadseg.archive.process import ClipWorker, process_clip
from roadseg.archive.result import read_clip_file
from roadseg.archive.spec import FILES, ClipSpec
from roadseg.core.errors import RoadsegError, SinkError, UsageError
from roadseg.video.loop import VideoLoop
from roadseg.video.reading import ReadingOptions


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_clip_becomes_a_folder_that_says_what_it_is(clips: Path, spec: ClipSpec) -> None:
    # Masks as one file, or as pictures.
    files = {kind: file for kind, file in FILES.items() if kind != "masks"}
    spec = replace(spec, writes=tuple(files), reading=ReadingOptions(rules=("seen: car > 1%",)))
    result = process_clip(clips / "day1" / "b.mkv", spec)
    assert (result.state, result.name, result.exit_code) == ("done", "b", 0)
    assert (result.frames_in, result.frames_out, result.frames_lost) == (6, 6, 0)
    assert result.duration_s == pytest.approx(6 / 25)
    assert result.model == "segnet-lite"
    assert json.loads(result.options)["backend"] == "fake"
    folder = spec.output / "b"
    assert {each.kind: each.path for each in result.outputs} == {
        kind: f"b/{file}" for kind, file in files.items()
    }
    assert result.output("overlay") == result.outputs[0]
    assert result.outputs[0].bytes == (folder / "overlay.mp4").stat().st_size
    assert len(list((folder / "masks").iterdir())) == 6
    table = pyarrow.parquet.read_table(folder / "timeline.parquet")
    assert table["frame"].to_pylist() == list(range(6))
    assert table["age_ms"].null_count == 6
    with av.open(str(folder / "overlay.mp4")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 6
    assert read_clip_file(folder) == replace(result, seconds=None)
    # Nothing else, hidden or not.
    assert [path.name for path in spec.output.iterdir()] == ["b"]
    assert {path.name for path in folder.iterdir()} == {*files.values(), "clip.json"}


def test_the_same_clip_is_the_same_bytes_whatever_was_done_before(
    clips: Path, spec: ClipSpec, tmp_path: Path
) -> None:
    paths = sorted(path for path in clips.rglob("*.*") if path.suffix != ".txt")
    found = [Clip(str(path), f"{path.parent.name}/{path.stem}") for path in paths]
    for output, order in (("one", found), ("two", found[::-1])):
        with ClipWorker(replace(spec, output=tmp_path / output)) as worker:
            for clip in order:
                worker(clip)
    one, two = digests(tmp_path / "one"), digests(tmp_path / "two")
    assert one == two
    assert len(one) > 20


def test_a_worker_opens_its_network_once(clips: Path, spec: ClipSpec, monkeypatch) -> None:
    from roadseg.backends.fake import FakeBackend

    opened = []
    before = FakeBackend.__init__
    monkeypatch.setattr(
        FakeBackend, "__init__", lambda self, *a: (opened.append(a), before(self, *a))[1]
    )
    with ClipWorker(spec) as worker:
        for number in range(3):
            worker(Clip(str(clips / "e.mp4"), f"e{number}"))
    assert len(opened) == 1


@pytest.mark.parametrize(
    ("name", "code", "error"),
    [
        ("day2/empty.mp4", 3, "is empty (0 bytes)"),
        ("day2/no-index.mp4", 3, "its index (the moov atom) is missing"),
        ("gone.mp4", 3, "cannot read"),
        ("day1/notes.txt", 3, "is not a video"),
    ],
)
def test_a_clip_that_cannot_be_read_has_failed(
    clips: Path, spec: ClipSpec, name: str, code: int, error: str
) -> None:
    result = process_clip(clips / name, spec)
    assert (result.state, result.exit_code, result.outputs) == ("failed", code, ())
    assert error in result.error
    assert not result.disk_full
    assert not list(spec.output.glob("*"))


def test_an_older_result_is_replaced_and_what_is_none_is_not(clips: Path, spec: ClipSpec) -> None:
    process_clip(clips / "e.mp4", spec)
    process_clip(clips / "e.mp4", replace(spec, writes=("timeline",)))
    assert {path.name for path in (spec.output / "e").iterdir()} == {
        "timeline.parquet",
        "clip.json",
    }
    (spec.output / "a").mkdir()
    (spec.output / "a" / "letter.txt").write_text("mine")
    result = process_clip(clips / "day1" / "a.mp4", spec)
    assert (result.state, result.exit_code) == ("failed", 4)
    assert result.error.endswith("is there, and is not a result of an archive")
    assert [path.name for path in (spec.output / "a").iterdir()] == ["letter.txt"]
    assert sorted(path.name for path in spec.output.iterdir()) == ["a", "e"]


def test_a_full_disk_is_not_the_clips_fault(clips: Path, spec: ClipSpec, monkeypatch) -> None:
    def fail(self: VideoLoop) -> None:
        folder = next((spec.output / spec.unfinished).iterdir())
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as exc:
            raise SinkError(f"cannot write {folder}/overlay.mp4", fix="free some") from exc

    monkeypatch.setattr(VideoLoop, "run", fail)
    result = process_clip(clips / "e.mp4", spec)
    assert (result.state, result.exit_code, result.disk_full) == ("failed", 4, True)
    # The name that people know, and not the hidden one.
    assert result.error == f"cannot write {spec.output / 'e'}/overlay.mp4"
    assert not list(spec.output.iterdir())


def test_a_clip_that_is_written_to_meanwhile_has_failed(
    clips: Path, spec: ClipSpec, monkeypatch
) -> None:
    before = VideoLoop.run

    def run(self: VideoLoop) -> object:
        with (clips / "e.mp4").open("ab") as file:
            file.write(b"more")
        return before(self)

    monkeypatch.setattr(VideoLoop, "run", run)
    result = process_clip(clips / "e.mp4", spec)
    assert (result.state, result.exit_code) == ("failed", 3)
    assert "was written to while it was read" in result.error
    assert not list(spec.output.iterdir())


def test_an_interruption_leaves_nothing(clips: Path, spec: ClipSpec, monkeypatch) -> None:
    def interrupt(self: VideoLoop) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(VideoLoop, "run", interrupt)
    with pytest.raises(KeyboardInterrupt):
        process_clip(clips / "e.mp4", spec)
    assert not list((spec.output / spec.unfinished).iterdir())


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"writes": ()}, "there is nothing to write"),
        ({"writes": ("film",)}, "cannot write 'film'"),
        ({"writes": ("masks", "png-masks")}, "masks and png-masks are the same twice"),
        ({"writes": ("events",)}, "there are no events to write"),
        ({"model": "auto"}, "follows the speed of the machine"),
        ({"reuse": 9}, "is not from 1 to 4"),
        ({"view": "nice"}, "view"),
        ({"reading": ReadingOptions(rules=("a: car nowhere",))}, "column"),
        ({"reading": ReadingOptions(groups=("a=unicorn",))}, "unicorn"),
    ],
)
def test_what_is_wrong_for_all_clips_is_said_before_the_first(
    spec: ClipSpec, changes: dict[str, object], error: str
) -> None:
    with pytest.raises(UsageError, match=error):
        ClipWorker(replace(spec, **changes))


def test_a_model_that_is_not_there_is_no_clips_fault(spec: ClipSpec) -> None:
    with pytest.raises(RoadsegError):
        process_clip("a.mp4", replace(spec, model="none.xml", backend="openvino"))
