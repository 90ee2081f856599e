"""Several files as one source: every picture once, times that go on, sound that stays in step."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.core.errors import SinkError, SourceError
from roadseg.core.planes import Planes
from roadseg.core.types import Frame
from roadseg.media.sinks.mp4 import Mp4Sink
from roadseg.media.sources.base import Source
from roadseg.media.sources.joined import JoinedSource
from roadseg.media.sources.opening import open_source
from tests.support.clips import picture, write_clip

SIZE_HW = (48, 64)
# Cuts in the middle of groups of pictures with pictures that refer to later ones.
LENGTHS = (12, 7, 25)
OPTIONS = {"bf": "2", "g": "10", "x264-params": "b-adapt=0"}


def frames_of(source: Source) -> list[Frame]:
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    assert source.read() is None
    return frames


def greys(frames: Sequence[Frame]) -> list[int]:
    return [round(float(frame.image_bgr.mean())) for frame in frames]


@pytest.fixture
def clips(tmp_path: Path) -> list[Path]:
    """One drive in three clips; their names have what FFmpeg's lists have to quote."""
    whole = [picture(i, SIZE_HW) for i in range(sum(LENGTHS))]
    paths = []
    for number, length in enumerate(LENGTHS):
        first = sum(LENGTHS[:number])
        path = tmp_path / f"it's \\ {number} ü.mp4"
        images = whole[first : first + length]
        paths.append(write_clip(path, images=images, audio="aac", options=OPTIONS))
    return paths


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    images = [picture(i, SIZE_HW) for i in range(sum(LENGTHS))]
    return write_clip(tmp_path / "whole.mp4", images=images, options=OPTIONS)


def test_a_joined_drive_has_the_frames_and_times_of_an_uncut_one(
    clips: list[Path], whole: Path
) -> None:
    with JoinedSource(clips) as joined, open_source(str(whole)) as uncut:
        assert joined.info.frame_count == uncut.info.frame_count == 44
        assert joined.info.rate == uncut.info.rate
        assert joined.info.name == f"{clips[0]} and 2 more"
        assert joined.info.parts == tuple(clips)
        ours, theirs = frames_of(joined), frames_of(uncut)
    assert [frame.index for frame in ours] == list(range(44))
    assert [frame.time_s for frame in ours] == pytest.approx([f.time_s for f in theirs])
    assert [frame.is_last for frame in ours] == [False] * 43 + [True]
    assert np.abs(np.subtract(greys(ours), greys(theirs))).max() <= 2
    assert (joined.frames_lost, joined.warnings) == (0, [])


def test_each_picture_is_the_one_that_its_clip_gives_alone(clips: list[Path]) -> None:
    alone: list[Frame] = []
    for clip in clips:
        with open_source(str(clip)) as source:
            alone += frames_of(source)
    with JoinedSource(clips) as joined:
        together = frames_of(joined)
    assert len(together) == len(alone)
    for one, other in zip(together, alone, strict=True):
        np.testing.assert_array_equal(one.image_bgr, other.image_bgr)


def test_times_are_multiples_of_the_clock_and_rise(clips: list[Path], tmp_path: Path) -> None:
    odd = write_clip(tmp_path / "odd.mp4", rate=Fraction(30_000, 1001), frames=9)
    with JoinedSource([clips[0], odd, clips[1]]) as joined:
        base = joined.info.time_base
        assert base is not None
        times_s = [frame.time_s for frame in frames_of(joined)]
    assert (np.diff(times_s) > 0.03).all()
    assert (np.diff(times_s) < 0.05).all()
    begins = Fraction(times_s[12]) / base
    assert abs(begins - round(begins)) < Fraction(1, 1000)


def test_a_clip_of_another_rate_keeps_it_behind_one_whose_clock_counts_pictures(
    tmp_path: Path,
) -> None:
    slow = write_clip(tmp_path / "day.avi", rate=Fraction(25), frames=10, codec="mpeg4")
    quick = write_clip(tmp_path / "night.avi", rate=Fraction(30), frames=60, codec="mpeg4")
    with JoinedSource([slow, quick]) as joined:
        write_through(joined, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        times_s = [frame.time for frame in container.decode(video=0)]
    assert len(times_s) == 70
    assert times_s[-1] == pytest.approx(10 / 25 + 59 / 30, abs=1e-3)


def test_max_frames_ends_behind_a_cut(clips: list[Path]) -> None:
    with JoinedSource(clips, max_frames=14) as joined:
        assert joined.info.frame_count == 14
        frames = frames_of(joined)
    assert len(frames) == 14
    assert not frames[-1].is_last


def test_a_clip_that_cannot_be_read_is_passed_over(clips: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(clips[1].read_bytes()[:300])
    with JoinedSource([broken, clips[0], broken, clips[1], broken]) as joined:
        frames = frames_of(joined)
    assert len(frames) == LENGTHS[0] + LENGTHS[1]
    assert frames[-1].is_last
    assert len(joined.warnings) == 3
    assert joined.warnings[0].startswith(f"the drive goes on without {broken}: cannot read")
    with pytest.raises(SourceError, match=r"cannot read .*broken\.mp4"):
        JoinedSource([broken, broken])


def test_a_clip_without_pictures_loses_those_that_it_declares(clips: list[Path]) -> None:
    data = bytearray(clips[1].read_bytes())
    start = data.index(b"mdat") + 4
    data[start : data.index(b"moov") - 4] = bytes(data.index(b"moov") - 4 - start)
    clips[1].write_bytes(data)
    with JoinedSource(clips) as joined:
        frames = frames_of(joined)
        assert joined.info.frame_count == 44
    assert len(frames) == LENGTHS[0] + LENGTHS[2]
    assert joined.frames_lost == LENGTHS[1]
    assert frames[-1].is_last
    assert len(joined.warnings) == 1


def test_what_a_damaged_clip_lost_is_counted(clips: list[Path]) -> None:
    moved = write_clip(clips[0].with_name("a.mp4"), frames=40, faststart=True)
    moved.write_bytes(moved.read_bytes()[:-60])
    with JoinedSource([moved, clips[1]]) as joined:
        frames = frames_of(joined)
    assert len(frames) + joined.frames_lost == 40 + LENGTHS[1]
    assert joined.frames_lost > 0
    assert any("was cut off" in each for each in joined.warnings)


def write_through(source: Source, path: Path) -> list[str]:
    sink = Mp4Sink(path, source.info)
    for frame in frames_of(source):
        sink.write(frame.picture, frame)
    sink.close(ok=True)
    return sink.warnings


def loudness(path: Path) -> np.ndarray:
    """Of each hundredth of a second from the first picture on."""
    resample = av.AudioResampler("flt", "mono", 16_000)
    samples: list[np.ndarray] = []
    begins_s = None
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            begins_s = frame.time if begins_s is None else begins_s
            samples += [each.to_ndarray()[0] for each in resample.resample(frame)]
    assert begins_s is not None
    tone = np.concatenate(samples)[max(round(-begins_s * 16_000), 0) :]
    return np.abs(tone[: tone.size // 160 * 160].reshape(-1, 160)).max(axis=1)


def test_sound_goes_on_over_the_cuts(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{i}.mp4", frames=50, audio="aac") for i in range(3)]
    with JoinedSource(clips) as joined:
        assert joined.info.has_audio
        assert write_through(joined, tmp_path / "out.mp4") == []
    loud = loudness(tmp_path / "out.mp4")
    assert len(loud) == pytest.approx(600, abs=15)
    # A sine of a quarter of the range; encoders may fade it for some milliseconds at a cut.
    assert (loud[5:590] > 0.1).mean() > 0.97


def test_sound_stays_with_the_pictures_of_its_clip(tmp_path: Path) -> None:
    clips = [write_clip(tmp_path / f"{i}.mp4", frames=50, audio="aac") for i in (0, 2)]
    short = write_clip(tmp_path / "1.mp4", frames=50, audio="aac", audio_s=1.0)
    with JoinedSource([clips[0], short, clips[1]]) as joined:
        write_through(joined, tmp_path / "out.mp4")
    quiet = np.flatnonzero(loudness(tmp_path / "out.mp4")[:590] < 0.05)
    # Beside the silence there are the moments at the cuts in which AAC begins anew.
    at_cuts, quiet = quiet[quiet < 250], quiet[quiet >= 250]
    assert len(at_cuts) <= 12
    assert quiet.min() == pytest.approx(300, abs=15)
    assert quiet.max() == pytest.approx(400, abs=15)
    assert len(quiet) > 75


@pytest.mark.parametrize("audio_s", [2.03, 2.1, 2.5])
def test_sound_that_is_longer_than_its_pictures_does_not_put_off_what_follows(
    tmp_path: Path, audio_s: float
) -> None:
    clips = [
        write_clip(tmp_path / f"{i}.mp4", frames=50, audio="aac", audio_s=audio_s) for i in range(6)
    ]
    with JoinedSource(clips) as joined:
        assert write_through(joined, tmp_path / "out.mp4") == []
    with av.open(str(tmp_path / "out.mp4")) as container:
        times_s = [frame.time for frame in container.decode(audio=0)]
    assert times_s[-1] == pytest.approx(10 + audio_s, abs=0.07), "the last one's sound is whole"
    steps_s = np.diff(times_s)
    assert (steps_s > 0).all()
    assert steps_s.max() < 0.1
    assert (loudness(tmp_path / "out.mp4")[5:1190] > 0.1).mean() > 0.95


def test_sound_that_is_not_in_all_clips_is_left_out(clips: list[Path], tmp_path: Path) -> None:
    silent = write_clip(tmp_path / "silent.mp4")
    with JoinedSource([clips[0], silent]) as joined:
        assert not joined.info.has_audio
        assert write_through(joined, tmp_path / "out.mp4") == [
            f"{tmp_path / 'out.mp4'} has no sound: the clips of the drive differ in their tracks"
        ]


def test_no_part_is_overwritten(clips: list[Path]) -> None:
    before = clips[2].read_bytes()
    with JoinedSource(clips) as joined, pytest.raises(SinkError, match="is the source itself"):
        Mp4Sink(clips[2], joined.info)
    assert clips[2].read_bytes() == before


def test_whether_its_pictures_come_in_planes_is_said_by_its_first_clip(tmp_path: Path) -> None:
    flat, deep = (
        write_clip(tmp_path / f"{pix_fmt}.mp4", frames=2, pix_fmt=pix_fmt)
        for pix_fmt in ("yuv420p", "yuv420p10le")
    )
    for paths, first in (((flat, deep), True), ((deep, flat), False)):
        with JoinedSource(paths, planar=True) as joined:
            assert joined.info.planar == first
            frame = joined.read()
            assert frame is not None
            assert isinstance(frame.picture, Planes) == first
