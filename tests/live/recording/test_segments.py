"""Recordings: files of some minutes, names, room on the disk, and what a killed run leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame
from roadseg.live.outputs import Result
from roadseg.live.recording.names import recorded, segment_paths
from roadseg.live.recording.room import Room
from roadseg.live.recording.segments import SegmentWriter, View
from roadseg.media.sinks.leftovers import settle_recordings
from roadseg.media.sources.base import SourceInfo
from tests.support import ROOT
from tests.support.live import eventually

INFO = SourceInfo("fake", "live", (48, 64), Fraction(10), None, False, None)
GB = 1_000_000_000


class Recording:
    """A writer with its room; frames are 100 ms apart."""

    def __init__(self, folder: Path, seconds: float = 1.0, views: tuple[View, ...] = ()) -> None:
        self.notes: list[tuple[str, str]] = []
        self.free = 100 * GB
        self.now_s = 0.0
        room = Room(folder, ["cam"], None, 1.0, lambda: self.now_s, lambda _: self.free)
        plain = View("", lambda result: result.frame.image_bgr)
        self.writer = SegmentWriter(
            folder,
            "cam",
            views or (plain,),
            seconds,
            room,
            lambda what, why: self.notes.append((what, why)),
            clock=lambda: self.now_s,
        )
        self._index = 0

    def write(self, count: int = 1, size_hw: tuple[int, int] = (48, 64), time_s=None) -> None:
        for _ in range(count):
            at_s = 50 + self._index * 0.1 if time_s is None else time_s
            frame = Frame(np.full((*size_hw, 3), 90, np.uint8), self._index, at_s, time.monotonic())
            labels = LabelMap(np.zeros((32, 32), np.uint8), Geometry(size_hw, (32, 32)))
            self.writer.write(Result(frame, labels, self._index, time.monotonic()), INFO)
            self._index += 1
            self.now_s += 0.1


def times(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [round(frame.time, 3) for frame in container.decode(video=0)]


def lengths(folder: Path) -> list[int]:
    return [len(times(file.path)) for file in recorded(folder, ["cam"])]


def test_a_new_file_begins_every_so_often_and_each_begins_at_its_own_time_0(tmp_path) -> None:
    recording = Recording(tmp_path)
    recording.write(25)
    recording.writer.close(ok=True)
    assert lengths(tmp_path) == [10, 10, 5]
    assert times(recorded(tmp_path, ["cam"])[1].path) == [round(0.1 * i, 3) for i in range(10)]
    assert recording.notes == [("recording", ""), ("recording ended", "")]
    assert not list(tmp_path.glob(".*")), "nothing hidden is left"


def test_a_file_says_when_it_was_recorded(tmp_path) -> None:
    recording = Recording(tmp_path)
    recording.write(2)
    recording.writer.close(ok=True)
    with av.open(str(recorded(tmp_path, ["cam"])[0].path)) as container:
        assert container.metadata["creation_time"].startswith(time.strftime("%Y-", time.gmtime()))


@pytest.mark.parametrize(
    ("size_hw", "time_s"), [((96, 64), None), ((48, 64), 500.0), ((48, 64), 3.0)]
)
def test_another_size_a_long_pause_and_a_step_back_begin_a_new_file(
    tmp_path, size_hw, time_s
) -> None:
    recording = Recording(tmp_path)
    recording.write(3)
    recording.write(1, size_hw, time_s)
    recording.writer.close(ok=True)
    assert lengths(tmp_path) == [3, 1]


def test_files_side_by_side_hold_the_same_moments(tmp_path) -> None:
    dark = View("-raw", lambda result: result.frame.image_bgr // 2)
    plain = View("", lambda result: result.frame.image_bgr)
    recording = Recording(tmp_path, views=(plain, dark))
    recording.write(12)
    recording.writer.close(ok=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert [name.endswith("-raw.mp4") for name in names] == [True, False, True, False]
    assert sorted(lengths(tmp_path)) == [2, 2, 10, 10]


def test_recording_pauses_at_the_floor_of_free_space_and_goes_on_above_it(tmp_path) -> None:
    recording = Recording(tmp_path, seconds=100)
    recording.write(5)
    recording.free = GB // 2
    recording.now_s += 2
    recording.write(5)
    eventually(lambda: lengths(tmp_path) == [5])  # what was recorded is complete
    recording.free = round(1.01 * GB)
    recording.now_s += 2
    recording.write(5)
    assert [what for what, _ in recording.notes] == ["recording", "recording paused"]
    recording.free = 2 * GB
    recording.now_s += 2
    recording.write(5)
    recording.writer.close(ok=True)
    assert lengths(tmp_path) == [5, 5]
    assert [what for what, _ in recording.notes] == [
        *("recording", "recording paused", "recording", "recording ended")
    ]
    assert "0.5 GB are free" in recording.notes[1][1]


def test_a_disk_that_fails_costs_what_it_cannot_take_and_is_tried_again(
    tmp_path, monkeypatch
) -> None:
    recording = Recording(tmp_path, seconds=100)

    def full(*_args: object, **_options: object) -> None:
        raise SinkError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr("roadseg.live.recording.segments.Mp4Sink.write", full)
        recording.write(3)
    assert recording.notes == [("recording paused", "the disk is full")]
    recording.write(1)
    assert recording.notes == [("recording paused", "the disk is full")], "not yet"
    recording.now_s += 20
    recording.write(4)
    recording.writer.close(ok=True)
    assert lengths(tmp_path) == [4]


@pytest.mark.parametrize("keep_gb", [None, 1.0])
def test_a_disk_that_goes_away_pauses_and_is_tried_again(tmp_path, keep_gb) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    recording = Recording(folder, seconds=100)
    room = Room(folder, ["cam"], keep_gb, 0.0, lambda: recording.now_s)
    recording.writer._room = room
    recording.write(3)
    away = folder.rename(tmp_path / "unplugged")
    recording.now_s += 2
    recording.write(3)
    assert "no such file" in dict(recording.notes)["recording paused"]
    with pytest.raises(SinkError, match="cannot write"):
        _ = room.shortage
    eventually(lambda: "recording cut short" in dict(recording.notes))
    away.rename(folder)
    recording.now_s += 20
    recording.write(4)
    recording.writer.close(ok=True)
    assert lengths(folder) == [3, 4]
    assert [what for what, _ in recording.notes[3:]] == ["recording", "recording ended"]


def test_the_oldest_recordings_make_way_and_nothing_else_does(tmp_path) -> None:
    for hour in range(4):
        (tmp_path / f"cam-2026-01-01T0{hour}-00-00.mp4").write_bytes(bytes(1000))
    strangers = ["other-2026-01-01T00-00-00.mp4", "cam.mp4", "cam-notes.txt"]
    for name in strangers:
        (tmp_path / name).write_bytes(bytes(1000))
    os.symlink(tmp_path / "cam.mp4", tmp_path / "cam-2020-01-01T00-00-00.mp4")
    room = Room(tmp_path, ["cam"], 2000 / GB, 0.0, lambda: 0.0, lambda _: GB)
    assert room.enough()
    left = [file.path.name for file in recorded(tmp_path, ["cam"])]
    assert left == ["cam-2026-01-01T02-00-00.mp4", "cam-2026-01-01T03-00-00.mp4"]
    assert all((tmp_path / name).exists() for name in strangers)


def test_names_are_their_own_within_a_second(tmp_path) -> None:
    names = list(islice(segment_paths(tmp_path, "cam", 1.8e9), 12))
    for path in names:
        path.write_bytes(b"")
    assert [file.path for file in recorded(tmp_path, ["cam"])] == names
    assert recorded(tmp_path, ["ca", "am", "other"]) == []


KILLED = """
import sys, time
from pathlib import Path
from tests.live.recording.test_segments import Recording
recording = Recording(Path(sys.argv[1]), seconds=1000)
recording.write(30)
print("written", flush=True)
time.sleep(1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_recording_plays_up_to_its_last_second_and_gets_its_name(tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert recorded(tmp_path, ["cam"]) == []
    assert len(settle_recordings(tmp_path)) == 1
    assert settle_recordings(tmp_path) == [], "once"
    (file,) = recorded(tmp_path, ["cam"])
    # 3 s were written; a fragment is a second long, and one picture is held back.
    assert len(times(file.path)) >= 18
