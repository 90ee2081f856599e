"""Times as a viewer sees them, whatever the clocks of recordings do."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.types import Frame
from roadseg.media.sources.file import open_file
from roadseg.media.sources.opening import open_source

MakeClip = Callable[..., Path]

_TICK = Fraction(1, 90_000)
_STEP = 3600  # ticks of a picture at 25 a second


def read_all(path: Path, **options: object) -> tuple[list[Frame], list[str]]:
    with open_file(path, **{"loop": False, "max_frames": None} | options) as source:  # type: ignore[arg-type]
        frames = list(iter(source.read, None))
        return frames, source.warnings


def times(frames: list[Frame]) -> list[float]:
    return [f.time_s for f in frames]


def even(count: int, rate: float = 25) -> object:
    return pytest.approx([i / rate for i in range(count)], abs=1e-4)


def stamped(make_clip: MakeClip, name: str, ticks: list[int]) -> Path:
    return make_clip(
        name,
        frames=len(ticks),
        ticks=ticks,
        time_base=_TICK,
        options={"bf": "0", "preset": "ultrafast"},
    )


def rewritten(source: Path, target: Path, stamp: Callable[[int], int]) -> Path:
    """A copy whose picture i has the time `stamp(i)`, in any order."""
    with av.open(str(source)) as given, av.open(str(target), "w") as output:
        stream = output.add_stream_from_template(given.streams.video[0])
        packets = [p for p in given.demux(video=0) if p.size]
        for i, packet in enumerate(packets):
            packet.stream = stream
            packet.time_base = _TICK
            packet.pts, packet.dts = stamp(i), i
            output.mux(packet)
    return target


@pytest.mark.parametrize("back", [20, 45])
def test_clips_joined_keep_every_pictures_time(
    tmp_path: Path, make_clip: MakeClip, back: int
) -> None:
    first = stamped(make_clip, "a.ts", [i * _STEP for i in range(50)])
    second = stamped(make_clip, "b.ts", [(50 - back + i) * _STEP for i in range(50)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())

    frames, warnings = read_all(joined)

    assert times(frames) == even(100)
    assert warnings == [
        f"the clock of {joined} jumps or stands still: 1 of 100 pictures continue from those "
        "before them"
    ]


def test_a_clock_that_is_set_on_the_way(tmp_path: Path, make_clip: MakeClip) -> None:
    first = stamped(make_clip, "a.ts", [i * _STEP for i in range(25)])
    later = 1800 * 90_000
    second = stamped(make_clip, "b.ts", [later + i * _STEP for i in range(25)])
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())

    frames, warnings = read_all(joined)

    assert times(frames) == even(50)
    assert len(warnings) == 1


@pytest.mark.parametrize("away_s", [1, 5, 600])
@pytest.mark.parametrize("name", ["stray.mkv", "stray.ts"])
def test_stamps_that_stray(tmp_path: Path, make_clip: MakeClip, name: str, away_s: int) -> None:
    clip = make_clip(frames=60, options={"bf": "0"})
    path = rewritten(
        clip,
        tmp_path / name,
        lambda i: i * _STEP + (away_s * 90_000 if i in (20, 21, 40) else 0),
    )

    frames, warnings = read_all(path)

    assert times(frames) == pytest.approx([i / 25 for i in range(60)], abs=2e-3)
    assert " 3 of 60 pictures " in warnings[0]


@pytest.mark.parametrize("first_s", [-600, 600])
def test_a_first_stamp_that_strays_is_not_time_zero(
    tmp_path: Path, make_clip: MakeClip, first_s: int
) -> None:
    clip = make_clip(frames=30, options={"bf": "0"})
    path = rewritten(
        clip,
        tmp_path / "first.mkv",
        lambda i: (1000 + (first_s if i == 0 else 0)) * 90_000 + i * _STEP,
    )

    with open_file(path, loop=False, max_frames=None) as source:
        frames = list(iter(source.read, None))

    assert times(frames) == even(30)
    assert frames[0].source_s == pytest.approx(1000, abs=2e-3)
    assert float(source.info.start_s) == pytest.approx(1000, abs=2e-3), "where sound begins, too"
    assert " 1 of 30 pictures " in source.warnings[0]


def test_pictures_that_all_bear_the_same_time(tmp_path: Path, make_clip: MakeClip) -> None:
    clip = make_clip(frames=30, rate=30, options={"bf": "0"})
    same = rewritten(clip, tmp_path / "same.mkv", lambda i: 0)

    frames, warnings = read_all(same)

    # The file has times in milliseconds, and FFmpeg may take 33 of them for the whole step.
    assert times(frames) == pytest.approx([i / 30 for i in range(30)], abs=1e-2)
    assert warnings == [
        f"the clock of {same} jumps or stands still: 29 of 30 pictures continue from those "
        "before them"
    ]


def test_a_real_gap_stays(make_clip: MakeClip) -> None:
    ticks = [0, 1, 2, 3, 78, 79, 80]
    path = make_clip("gap.mkv", frames=7, ticks=ticks, options={"bf": "0"})

    frames, warnings = read_all(path)

    assert times(frames) == pytest.approx([t / 25 for t in ticks], abs=1e-3)
    assert warnings == []


class TestElementaryStreams:
    @pytest.mark.parametrize(
        ("name", "codec"), [("a.h264", "libx264"), ("a.hevc", "libx265"), ("a.m4v", "mpeg4")]
    )
    def test_play_at_the_rate_in_their_headers(
        self, make_clip: MakeClip, name: str, codec: str
    ) -> None:
        frames, warnings = read_all(make_clip(name, frames=30, rate=60, codec=codec))

        assert times(frames) == even(30, 60)
        assert frames[-1].duration_s == pytest.approx(1 / 60)
        assert warnings == []

    def test_say_when_their_headers_have_no_rate(self, make_clip: MakeClip) -> None:
        path = make_clip("a.mjpeg", frames=10, rate=10, codec="mjpeg")
        frames, warnings = read_all(path)
        assert times(frames) == even(10, 25)
        assert warnings == [
            f"{path} states neither times nor a rate: it plays at 25 frames per second; fps sets "
            "another rate"
        ]
        assert read_all(path, fps=Fraction(10))[1] == []

    def test_play_at_a_rate_that_is_given(self, make_clip: MakeClip) -> None:
        path = make_clip("a.h264", frames=10, rate=60)
        frames, _ = read_all(path, fps=Fraction(10))
        assert times(frames) == even(10, 10)

    def test_no_other_file_takes_one(self, make_clip: MakeClip) -> None:
        path = make_clip(frames=2)
        with pytest.raises(UsageError) as caught:
            open_file(path, loop=False, max_frames=None, fps=Fraction(10))
        assert str(caught.value) == (
            f"fps is for images and bare streams; {path} has its own rate: leave it out"
        )


class TestTheLastPicture:
    def test_is_marked(self, make_clip: MakeClip) -> None:
        frames, _ = read_all(make_clip(frames=5))
        assert [f.is_last for f in frames] == [False] * 4 + [True]
        assert frames[-1].duration_s == pytest.approx(1 / 25)

    def test_is_not_where_somebody_cuts_it_short(self, make_clip: MakeClip) -> None:
        path = make_clip(frames=5)
        assert not any(f.is_last for f in read_all(path, max_frames=4)[0])
        assert read_all(path, max_frames=5)[0][-1].is_last

    def test_a_loop_has_none(self, make_clip: MakeClip) -> None:
        frames, _ = read_all(make_clip(frames=2), loop=True, max_frames=5)
        assert not any(f.is_last for f in frames)

    @pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
    def test_stands_as_long_as_the_file_says(
        self, tmp_path: Path, make_clip: MakeClip, name: str
    ) -> None:
        clip = make_clip(frames=25, options={"bf": "0"})
        still = tmp_path / name
        with av.open(str(clip)) as given, av.open(str(still), "w") as output:
            stream = output.add_stream_from_template(given.streams.video[0])
            packets = [p for p in given.demux(video=0) if p.size]
            for packet in packets:
                packet.stream = stream
                if packet is packets[-1]:
                    packet.duration = round(3.04 / packet.time_base)
                output.mux(packet)

        frames, warnings = read_all(still)

        assert frames[-1].time_s + (frames[-1].duration_s or 0) == pytest.approx(4.0, abs=0.01)
        assert warnings == []

    def test_of_uneven_pictures_stands_no_longer_than_the_file(
        self, tmp_path: Path, make_clip: MakeClip
    ) -> None:
        # One picture in half a second on average, and 40 ms for the last one.
        ticks = [0, 1, 2, 3, 40, 41, 88]
        path = make_clip("uneven.mkv", frames=7, ticks=ticks, options={"bf": "0"})
        with av.open(str(path)) as container:
            whole_s = container.duration / av.time_base

        frames, _ = read_all(path)

        assert frames[-1].time_s + (frames[-1].duration_s or 0.04) <= whole_s + 0.05


def test_animated_gif_has_its_own_times(make_clip: MakeClip) -> None:
    path = make_clip("a.gif", frames=6, rate=10, codec="gif", pix_fmt="rgb8")
    with open_source(str(path)) as source:
        frames = list(iter(source.read, None))
    assert times(frames) == even(6, 10)
    levels = [round(float(np.mean(f.image_bgr))) for f in frames]
    assert levels == sorted(levels)
