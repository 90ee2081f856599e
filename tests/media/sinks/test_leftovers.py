"""What killed runs left: parts of every stage, made by ending real writing at that stage."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.files import new_part
from roadseg.core.types import Frame
from roadseg.media.sinks import mp4_boxes
from roadseg.media.sinks.leftovers import new_copy, settle_folder, settle_parts
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sinks.mp4_boxes import keep_whole_fragments, move_index_to_front
from roadseg.media.sinks.png import PngFolderSink, PngMaskSink
from roadseg.media.sinks.sink import open_sink
from roadseg.media.sources.base import SourceInfo

INFO = SourceInfo("t", "file", None, Fraction(25), None, False, None, Fraction(1, 25))
BLACK = np.zeros((48, 64, 3), np.uint8)


def frames_of(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(f.pts * f.time_base) for f in container.decode(video=0)]


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that is being written: four whole seconds of 25 pictures."""
    folder = tmp_path_factory.mktemp("growing")
    sink = Mp4Sink(folder / "a.mp4", INFO)
    rng = np.random.default_rng(0)
    for i in range(115):
        image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        sink.write(image, Frame(BLACK, i, i / 25, 0.0))
    (part,) = folder.glob(".a.mp4.*.part")
    data = part.read_bytes()
    sink.close(ok=False)
    return data


@pytest.fixture(scope="module")
def in_place(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file that is finished, but for its index at the end."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("roadseg.media.sinks.mp4.move_index_to_front", lambda *_: False)
        path = tmp_path_factory.mktemp("finished") / "a.mp4"
        sink = Mp4Sink(path, INFO)
        for i in range(60):
            sink.write(BLACK, Frame(BLACK, i, i / 25, 0.0))
        sink.close(ok=True)
    return path.read_bytes()


def test_whole_fragments_stay(growing: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(growing)
    assert keep_whole_fragments(path) == 100
    assert path.read_bytes() == growing
    assert frames_of(path) == pytest.approx([i / 25 for i in range(100)])


def test_wherever_writing_stopped_what_is_left_plays(growing: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    seen = set()
    for cut in [0, 1, 7, 8, 40, 90, *range(0, len(growing), len(growing) // 60), len(growing) - 1]:
        path.write_bytes(growing[:cut])
        pictures = keep_whole_fragments(path)
        seen.add(pictures)
        if pictures:
            assert len(frames_of(path)) == pictures
    assert seen == {0, 25, 50, 75}


def test_zeros_behind_the_last_fragment_are_cut_off(growing: bytes, tmp_path: Path) -> None:
    """What a file system makes of a power cut."""
    path = tmp_path / "a.mp4"
    path.write_bytes(growing + bytes(5000))
    assert keep_whole_fragments(path) == 100
    assert path.read_bytes() == growing


def test_a_file_that_was_about_to_be_finished(
    growing: bytes, in_place: bytes, tmp_path: Path
) -> None:
    """Its last index is written, and what hides the fragments is not."""
    path = tmp_path / "a.mp4"
    path.write_bytes(growing + in_place[in_place.rindex(b"moov") - 4 :])
    assert keep_whole_fragments(path) == 100
    assert path.read_bytes() == growing


def test_the_index_moves_to_the_front(in_place: bytes, tmp_path: Path) -> None:
    path, copy = tmp_path / "a.mp4", tmp_path / "b.mp4"
    path.write_bytes(in_place)
    path.chmod(0o640)
    assert keep_whole_fragments(path) == 60
    assert move_index_to_front(path, copy)
    moved = copy.read_bytes()
    assert moved.index(b"moov") < moved.index(b"mdat")
    assert len(moved) == len(in_place)
    assert copy.stat().st_mode == path.stat().st_mode

    def packets(file: Path) -> list[tuple[int | None, bytes]]:
        with av.open(str(file)) as container:
            return [(p.pts, bytes(p)) for p in container.demux() if p.size]

    assert packets(copy) == packets(path)
    assert not move_index_to_front(copy, tmp_path / "c.mp4"), "it is there already"


def test_offsets_that_do_not_fit_leave_the_file_as_it_is(
    in_place: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(in_place)
    shift = mp4_boxes._shift_offsets
    monkeypatch.setattr(mp4_boxes, "_shift_offsets", lambda index, by: shift(index, 2**32 - by))
    assert not move_index_to_front(path, tmp_path / "b.mp4")
    assert sorted(os.listdir(tmp_path)) == ["a.mp4"]


def test_parts_get_names_or_go(growing: bytes, in_place: bytes, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    parts = sorted([new_part(target), new_part(target)])
    for part, data in zip(parts, (growing, in_place), strict=True):
        part.write_bytes(data)
    new_copy(target).write_bytes(in_place)
    (tmp_path / "out-interrupted-2.mp4").write_bytes(b"another")
    strangers = [new_part(tmp_path / "xout.mp4"), new_part(tmp_path / "out.mp4.mp4")]
    strangers += [tmp_path / ".out.mp4.part", tmp_path / ".out.mp4.1-zzzzzz.part"]
    for stranger in strangers:
        stranger.write_bytes(growing)

    told = "an earlier run into out.mp4 was killed: what it wrote, {} frames, is now {}"
    assert settle_parts(target) == [
        told.format(100, tmp_path / "out-interrupted-1.mp4"),
        told.format(60, tmp_path / "out-interrupted-3.mp4"),
    ]
    assert sorted(os.listdir(tmp_path)) == sorted(
        [f"out-interrupted-{n}.mp4" for n in (1, 2, 3)] + [p.name for p in strangers]
    )
    assert settle_parts(target) == []


def test_parts_that_do_not_play_go(growing: bytes, tmp_path: Path) -> None:
    target = tmp_path / "out.mp4"
    for data in (b"", b"x" * 5000, growing[:500]):
        new_part(target).write_bytes(data)
    assert (
        settle_parts(target)
        == [
            "an earlier run into out.mp4 was killed before it wrote anything that plays: its "
            "unfinished file was removed"
        ]
        * 3
    )
    assert os.listdir(tmp_path) == []


def test_parts_of_the_longest_name(growing: bytes, tmp_path: Path) -> None:
    target, twin = tmp_path / ("x" * 250 + "1.mp4"), tmp_path / ("x" * 250 + "2.mp4")
    for each in (target, twin):
        new_part(each).write_bytes(growing)
    assert len(settle_parts(target)) == 1
    (named,) = tmp_path.glob("*-interrupted-1.mp4")
    assert len(named.name) == 255
    assert len(list(tmp_path.glob(".*.part"))) == 1, "the other file's"


def test_pngs_that_were_not_finished(tmp_path: Path, growing: bytes) -> None:
    (tmp_path / ".000012.png.part").write_bytes(b"half")
    (tmp_path / ".notes.part").write_bytes(b"not ours")
    sink = open_sink(tmp_path, INFO)
    assert sink.warnings == [
        f"an earlier run into {tmp_path} was killed: one PNG file that it had not finished removed"
    ]
    assert sorted(os.listdir(tmp_path)) == [".notes.part", ".roadseg.lock"]
    sink.close(ok=True)
    assert sorted(os.listdir(tmp_path)) == [".notes.part"]
    for number in (1, 2):
        (tmp_path / f".{number}.png.part").touch()
    assert "2 PNG files" in settle_folder(tmp_path)[0]


@pytest.mark.parametrize("kind", [PngFolderSink, PngMaskSink, Mp4Sink])
def test_one_place_is_one_sinks(tmp_path: Path, kind: type[Mp4Sink]) -> None:
    place = tmp_path / "out.mp4"
    first = kind(place, INFO)
    with pytest.raises(SinkError, match=f"is being written by another run .process {os.getpid()}."):
        kind(place, INFO)
    first.close(ok=False)
    kind(place, INFO).close(ok=False)
    shutil.rmtree(place, ignore_errors=True)
    dropped = kind(place, INFO)
    del dropped
    kind(place, INFO).close(ok=False)


@pytest.mark.parametrize("code", [37, 95])
def test_file_systems_without_locks(
    tmp_path: Path, growing: bytes, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def none(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", none)
    target = tmp_path / "out.mp4"
    part = new_part(target)
    part.write_bytes(growing)
    for place in (target, tmp_path / "folder"):
        sink = open_sink(place, INFO)
        sink.write(BLACK, Frame(BLACK, 0, 0.0, 0.0))
        sink.close(ok=True)
        assert sink.warnings == []
    assert sorted(os.listdir(tmp_path)) == [part.name, "folder", "out.mp4"], "it may be in use"
    assert os.listdir(tmp_path / "folder") == ["000000.png"]
