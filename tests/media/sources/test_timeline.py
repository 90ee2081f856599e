"""Timestamps as files give them, and files that end too early, by worked examples."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from roadseg.media.sources.timeline import Timeline
from roadseg.media.sources.truncation import is_cut_off


@pytest.mark.parametrize(
    ("stamps", "ticks"),
    [
        ([0, 40, 80], [0, 40, 80]),
        ([500, 540, 600], [0, 40, 100]),
        ([None, None, None], [0, 40, 80]),
        ([0, None, 90], [0, 40, 90]),
        ([0, 40, 40, 30, 80], [0, 40, 53, 66, 80]),
        ([0, 40, 47, 200, 1000, 1001, 1500], [0, 40, 47, 200, 1000, 1001, 1500]),
        ([0, 40, 5_040, 5_080], [0, 40, 5_040, 5_080]),
        ([0, 40, 60_040, 60_080], [0, 40, 80, 120]),
        ([9_000, 9_040, 0, 40, 80], [0, 40, 80, 120, 160]),
        ([500, 540, 580, 80, 120, 160], [0, 40, 80, 120, 160, 200]),
        ([160, 200, 240, 200, 240, 280], [0, 40, 80, 120, 160, 200]),
        ([0, 40, 99_000_000, 99_000_040], [0, 40, 80, 120]),
        ([0, 40, 600_000, 120, 160], [0, 40, 80, 120, 160]),
        ([0, 40, 5_080, 5_120, 160, 200], [0, 40, 80, 120, 160, 200]),
        ([0, 40, 80, 20, 160, 200], [0, 40, 80, 120, 160, 200]),
        ([7, 7, 7, 7], [0, 40, 80, 120]),
    ],
    ids=(
        *("plain", "late", "missing", "hole", "stutter", "varying", "gap", "leap", "restart"),
        *("join", "small join", "wild", "stray", "small stray", "early", "same"),
    ),
)
def test_timeline(stamps: list[int | None], ticks: list[int]) -> None:
    assert placed(stamps, look_ahead=16)[0] == ticks


def placed(stamps: list[int | None], look_ahead: int) -> tuple[list[int], int]:
    """Ticks of pictures 40 ms apart, and how many were mended."""
    timeline = Timeline(step=40, ticks_per_s=1000)
    ticks = []
    for i, stamp in enumerate(stamps):
        following = [] if timeline.fits(stamp) else stamps[i + 1 : i + 1 + look_ahead]
        ticks.append(timeline.ticks(stamp, following))
    return ticks, timeline.mended


@pytest.mark.parametrize(
    ("stamps", "astray"),
    [
        ([700_000, 40, 80], True),
        ([0, 700_000, 700_040], True),
        ([0, 40, 80], False),
        ([0, 5_000, 5_040], False),  # a pause
        ([0, 700_000, 80], False),  # the second strays
        ([80, 40, 900_000], False),
        ([700_000, 40], False),
        ([None, 40, 80], False),
    ],
)
def test_a_first_stamp_is_told_to_stray_by_those_behind_it(
    stamps: list[int | None], astray: bool
) -> None:
    assert Timeline(step=40, ticks_per_s=1000).begins_astray(stamps) is astray


def test_a_clock_that_strays_for_long_is_told_when_it_comes_back() -> None:
    stamps: list[int | None] = [40 * i + (600_000 if 10 <= i < 50 else 0) for i in range(60)]
    for look_ahead in (0, 16):
        ticks, mended = placed(stamps, look_ahead)
        assert ticks == [40 * i for i in range(60)]
        assert mended == 1


@pytest.mark.parametrize("back_ms", [40, 80, 120, 200, 500, 1800, 5000])
def test_clips_joined_with_any_overlap_keep_every_pictures_time(back_ms: int) -> None:
    stamps: list[int | None] = []
    for clip in range(4):
        begin = 10_000 + clip * (200 * 40 - back_ms)
        stamps += [begin + 40 * i for i in range(200)]
    ticks, mended = placed(stamps, look_ahead=16)
    assert ticks == [40 * i for i in range(800)]
    assert mended == 3


def test_a_gap_as_long_as_its_picture_is_said_to_stand_is_believed() -> None:
    timeline = Timeline(step=40, ticks_per_s=1000)
    assert timeline.ticks(0, duration=60_000) == 0
    assert timeline.fits(60_000)
    assert timeline.ticks(60_000) == 60_000
    assert timeline.mended == 0


def test_a_slow_clock_is_believed() -> None:
    timeline = Timeline(step=60_000, ticks_per_s=1000)
    assert [timeline.ticks(60_000 * i) for i in range(4)] == [60_000 * i for i in range(4)]


def test_a_live_clock_leaps_no_further_than_the_wait() -> None:
    for longest, expected in ((4_000, 80), (6_000, 5_040)):
        timeline = Timeline(step=40, ticks_per_s=1000)
        assert [timeline.ticks(s) for s in (0, 40)] == [0, 40]
        assert timeline.ticks(5_040, longest=longest) == expected


def test_timeline_with_an_origin_may_begin_before_zero() -> None:
    timeline = Timeline(step=40, ticks_per_s=1000, origin=100)
    assert [timeline.ticks(s) for s in (60, 100, 140)] == [-40, 0, 40]


def test_timeline_restarts_for_a_loop() -> None:
    timeline = Timeline(step=40, ticks_per_s=1000)
    assert [timeline.ticks(s) for s in (7, 47)] == [0, 40]
    timeline.restart()
    assert [timeline.ticks(s) for s in (7, 47)] == [80, 120]


def box(name: bytes, payload: int) -> bytes:
    return struct.pack(">I4s", 8 + payload, name) + bytes(payload)


def wide_box(name: bytes, payload: int) -> bytes:
    return struct.pack(">I4sQ", 1, name, 16 + payload) + bytes(payload)


def open_box(name: bytes, payload: int) -> bytes:
    """A last box that runs to the end of the file."""
    return struct.pack(">I4s", 0, name) + bytes(payload)


def riff(payload: int) -> bytes:
    return struct.pack("<4sI4s", b"RIFF", 4 + payload, b"AVI ") + bytes(payload)


def matroska(payload: int, *, unknown: bool = False) -> bytes:
    header = bytes.fromhex("1A45DFA3") + b"\x83abc"
    size = b"\xff" if unknown else (payload | 1 << 28).to_bytes(4, "big")
    return header + bytes.fromhex("18538067") + size + bytes(payload)


@pytest.mark.parametrize(
    "whole",
    [
        box(b"ftyp", 12) + box(b"moov", 30) + box(b"mdat", 100),
        box(b"ftyp", 12) + wide_box(b"mdat", 100),
        riff(200) + riff(100),
        matroska(100),
    ],
    ids=["boxes", "wide box", "riff", "matroska"],
)
def test_cut_off(tmp_path: Path, whole: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(whole)
    assert not is_cut_off(path)
    path.write_bytes(whole[:-10])
    assert is_cut_off(path)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GIF89a",
        b"plain text that is nothing",
        box(b"ftyp", 12) + open_box(b"mdat", 50),
        box(b"ftyp", 12) + b"\x00\x00\x01\x00\xff\xfe\xfd\xfc" + bytes(20),
        riff(100) + b"JUNKJUNKJUNK",
        matroska(10, unknown=True),
        matroska(10)[:6],
    ],
)
def test_not_known_to_be_cut_off(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    assert not is_cut_off(path)
