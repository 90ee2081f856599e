"""Clips of events: which frames they hold, whoever encodes, and whatever goes wrong.

Every frame has a grey level of its own, so that a clip tells which frames it holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from roadseg.core.errors import SinkError, UsageError
from roadseg.core.types import Frame, Image
from roadseg.media.sinks.clips import EncodedPicture
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sources.base import SourceInfo
from roadseg.road import Vocabulary, parse_rule
from roadseg.video.clips import ClipEnd, ClipFolder, Cues, EventClips, Moment, Roll, open_clips
from roadseg.video.clips.cutter import Cutter

pytestmark = pytest.mark.usefixtures("as_typed")

HW = (48, 64)
RATE = 10
FRAMES = 60
INFO = SourceInfo(
    name="drive",
    kind="file",
    size_hw=HW,
    rate=Fraction(RATE),
    frame_count=FRAMES,
    has_audio=False,
    path=None,
    time_base=Fraction(1, 1000),
)


def picture(index: int) -> Image:
    return np.full((*HW, 3), 20 + index * 3, np.uint8)


def held_by(path: Path) -> list[int]:
    """The frames that a clip holds."""
    with av.open(str(path)) as clip:
        levels = [frame.to_ndarray(format="gray").mean() for frame in clip.decode(video=0)]
    return [round((level - 20) / 3) for level in levels]


class Event:
    """An event of frames `first` to `last`, certain `seen` frames later and over `off` frames
    behind its end."""

    def __init__(
        self, name: str, first: int, last: int, seen: int = 0, off: int = 1, peak: int | None = None
    ) -> None:
        self.rule = name.partition("-")[2]
        self.name, self.first, self.last, self.seen, self.off = name, first, last, seen, off
        self.peak = first if peak is None else peak

    def moment(self, at: int) -> Moment | None:
        if not self.first <= at < self.last + self.off:
            return None
        held_s = min(at, self.last) / RATE
        is_peak = at == self.first or at == self.peak
        clip = self.name if at >= self.first + self.seen else None
        return Moment(self.rule, self.first / RATE, held_s, is_peak, clip)

    def end(self, at: int) -> ClipEnd | None:
        return ClipEnd(self.name, self.last / RATE) if at == self.last + self.off else None


def cues(events: Iterable[Event], at: int) -> Cues:
    moments = tuple(m for e in events if (m := e.moment(at)) is not None)
    return Cues(moments, tuple(end for e in events if (end := e.end(at)) is not None))


def rolls(events: Iterable[Event], roll: Roll) -> dict[str, Roll]:
    return {event.rule: roll for event in events}


@pytest.fixture(params=["recording", "own encoder"])
def encodes(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def record(
    folder: Path,
    events: list[Event],
    roll: Roll,
    encodes: str = "own encoder",
    frames: int = FRAMES,
) -> EventClips:
    """Run `frames` frames through."""
    sink = None
    if encodes == "recording":
        sink = Mp4Sink(folder.with_name("out.mp4"), INFO)
        clips = EventClips(ClipFolder(folder), rolls(events, roll))
        sink.tap = clips.tap
    else:
        clips = EventClips(ClipFolder(folder), rolls(events, roll), INFO)
    for index in range(frames):
        frame = Frame(picture(index), index, index / RATE, 0.0)
        if sink is not None:
            sink.write(frame.image_bgr, frame)
        clips.write(frame, frame.image_bgr, cues(events, index))
    if sink is not None:
        sink.close(ok=True)
    clips.close(ok=True)
    clips.close(ok=True)
    return clips


@pytest.mark.parametrize("first", range(23, 33))
def test_a_clip_has_all_that_was_asked_for_and_at_most_a_second_more(
    tmp_path: Path, first: int, encodes: str
) -> None:
    event = Event("0001-walker", first, first + 7, seen=3)
    clips = record(tmp_path / "clips", [event], Roll(1.5, 0.8), encodes)
    held = held_by(tmp_path / "clips" / "0001-walker.mp4")
    assert held == list(range(held[0], held[-1] + 1)), "none is missing"
    assert first - 15 - 10 <= held[0] <= first - 15
    assert first + 7 + 8 <= held[-1]
    asked_for = 15 + 7 + 8
    assert len(held) - 1 <= asked_for + 10
    assert clips.path == tmp_path / "clips"
    assert clips.warnings == []


def test_recording_and_clips_hold_the_same_pictures(tmp_path: Path) -> None:
    record(tmp_path / "clips", [Event("0001-all", 0, FRAMES)], Roll(0, 0), "recording")
    assert held_by(tmp_path / "out.mp4") == list(range(FRAMES))
    assert held_by(tmp_path / "clips" / "0001-all.mp4") == list(range(FRAMES))


def test_events_that_overlap_have_clips_of_their_own(tmp_path: Path, encodes: str) -> None:
    events = [Event("0001-a", 20, 40), Event("0002-b", 30, 35), Event("0003-b", 38, 39)]
    record(tmp_path / "clips", events, Roll(1, 1), encodes)
    for event in events:
        held = set(held_by(tmp_path / "clips" / f"{event.name}.mp4"))
        assert set(range(event.first - 10, event.last + 11)) <= held


def test_the_source_ends_within_the_post_roll_or_the_event(tmp_path: Path, encodes: str) -> None:
    events = [Event("0001-a", 50, 55), Event("0002-b", 52, 99)]
    record(tmp_path / "clips", events, Roll(0.5, 5), encodes)
    assert held_by(tmp_path / "clips" / "0001-a.mp4")[-1] == FRAMES - 1
    assert held_by(tmp_path / "clips" / "0002-b.mp4")[-1] == FRAMES - 1


def test_an_event_at_the_first_frame_begins_there(tmp_path: Path, encodes: str) -> None:
    record(tmp_path / "clips", [Event("0001-a", 0, 2)], Roll(5, 0.5), encodes)
    assert held_by(tmp_path / "clips" / "0001-a.mp4")[:8] == list(range(8))


def test_a_hold_off_longer_than_the_post_roll_makes_no_longer_clip(tmp_path: Path) -> None:
    record(tmp_path / "clips", [Event("0001-a", 20, 22, off=30)], Roll(0, 0.5))
    assert held_by(tmp_path / "clips" / "0001-a.mp4")[-1] == 27


def test_what_holds_for_too_short_a_time_leaves_nothing(tmp_path: Path) -> None:
    clips = record(tmp_path / "clips", [Event("0001-a", 20, 22, seen=99)], Roll(1, 1))
    assert os.listdir(tmp_path / "clips") == []
    assert clips.path is None


@pytest.mark.parametrize("seen", [0, 5])
def test_the_snapshot_is_the_peak(tmp_path: Path, seen: int) -> None:
    event = Event("0001-a", 20, 30, seen=seen, peak=24)
    record(tmp_path / "clips", [event], Roll(1, 1))
    snapshot = cv2.imread(str(tmp_path / "clips" / "0001-a.jpg"))
    assert snapshot is not None
    assert snapshot.shape == (*HW, 3)
    assert abs(float(snapshot.mean()) - float(picture(24).mean())) < 2


def test_memory_holds_the_pre_roll_and_no_more(tmp_path: Path) -> None:
    folder = ClipFolder(tmp_path)
    cutter = Cutter(folder, {"a": Roll(2, 1)}, [])
    most = 0
    for index in range(300):
        cutter.picture(
            EncodedPicture(b"", index, index, 1, Fraction(1, RATE), index % 8 == 0, None)
        )  # type: ignore[arg-type]
        cutter.frame(index / RATE, Cues(), None)
        most = max(most, len(cutter._recent))
    assert 21 <= most <= 21 + 8
    folder.release()


def test_a_source_that_begins_again_begins_new_clips(tmp_path: Path) -> None:
    clips = EventClips(ClipFolder(tmp_path), {"a": Roll(1, 1)}, INFO)
    for turn in range(2):
        event = Event(f"000{turn + 1}-a", 15, 99)
        for index in range(20):
            frame = Frame(picture(index), index, index / RATE, 0.0)
            clips.write(frame, frame.image_bgr, cues([event], index))
    clips.close(ok=True)
    for name in ("0001-a.mp4", "0002-a.mp4"):
        assert held_by(tmp_path / name)[-1] == 19


def test_a_full_disk_costs_the_clip_and_not_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roadseg.media.sinks.clips import clip_file

    append = clip_file.ClipFile._append

    def full(self: clip_file.ClipFile, container: object, encoded: object) -> None:
        if self.path.name == "0001-a.mp4" and self.pictures == 25:
            raise OSError(28, "No space left on device")
        append(self, container, encoded)  # type: ignore[arg-type]

    monkeypatch.setattr(clip_file.ClipFile, "_append", full)
    events = [Event("0001-a", 5, 50), Event("0002-b", 10, 50)]
    clips = record(tmp_path / "clips", events, Roll(1, 1))
    (warning,) = clips.warnings
    assert "the disk is full while writing" in warning
    assert "0001-a.mp4" in warning
    held = held_by(tmp_path / "clips" / "0001-a.mp4")
    assert held == list(range(len(held)))
    assert f"holds the first {len(held)} pictures" in warning
    assert set(range(60)) <= set(held_by(tmp_path / "clips" / "0002-b.mp4"))
    assert not [name for name in os.listdir(tmp_path / "clips") if name.startswith(".")]


def test_numbers_go_on_and_parts_of_killed_runs_get_names(tmp_path: Path) -> None:
    record(tmp_path / "clips", [Event("0007-a", 10, 20)], Roll(1, 1))
    whole = (tmp_path / "clips" / "0007-a.mp4").read_bytes()
    (tmp_path / "clips" / ".0008-b.mp4.123-abcdef.part").write_bytes(whole)
    (tmp_path / "clips" / ".0008-b.jpg.123-abcdef.part").write_bytes(b"half")
    folder = ClipFolder(tmp_path / "clips")
    assert folder.name("a/b: c") == "0009-a_b_c"
    assert "0008-b-interrupted-1.mp4" in folder.warnings[0]
    names = os.listdir(tmp_path / "clips")
    assert "0008-b-interrupted-1.mp4" in names
    assert not [name for name in names if name.endswith(".part")]
    with pytest.raises(SinkError, match="written by another run"):
        ClipFolder(tmp_path / "clips")
    folder.release()
    ClipFolder(tmp_path / "clips").release()


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "clips").touch()
    with pytest.raises(SinkError, match=r"--event-clips .*clips is a file: give a folder"):
        ClipFolder(tmp_path / "clips")


@pytest.mark.parametrize("seconds", [-1, 601, float("nan"), float("inf")])
def test_rolls_that_cannot_be(seconds: float) -> None:
    with pytest.raises(UsageError, match="--pre-roll"):
        Roll(pre_s=seconds)
    with pytest.raises(UsageError, match="--post-roll"):
        Roll(post_s=seconds)


@pytest.mark.parametrize("times", ["for 601s", "for 1s hold-off 2000s"])
def test_rules_that_memory_cannot_wait_for(tmp_path: Path, times: str) -> None:
    rule = parse_rule(f"a: car > 5% {times}", Vocabulary())
    folder = ClipFolder(tmp_path)
    with pytest.raises(UsageError, match="event 'a' has .* too long for a clip"):
        open_clips(folder, [rule], Roll(), None, INFO)
    folder.release()
