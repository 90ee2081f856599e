"""Which clips are one drive."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from roadseg.archive.drives.find import Drive, Recording, find_drives
from roadseg.media.clip_facts import ClipFacts

BEGIN = datetime(2025, 1, 1, 12, 0, 0, tzinfo=timezone.utc)


def clip(
    path: str,
    duration_s: float | None = 60.0,
    created_s: float | None = None,
    size_wh: tuple[int, int] = (1920, 1080),
) -> Recording:
    created = None if created_s is None else BEGIN + timedelta(seconds=created_s)
    return Recording(path, ClipFacts(duration_s, created, size_wh, None, 0.0, ()))


def paths(drives: list[Drive]) -> list[list[str]]:
    return [[each.path for each in drive.clips] for drive in drives]


def test_clips_that_follow_each_other_are_one_drive_in_order() -> None:
    drives = find_drives(
        [
            clip("20250101_120200.mp4", 60.04),
            clip("20250101_120000.mp4", 59.96),
            clip("20250101_120100.mp4", 60.0),
            clip("20250101_130000.mp4"),
        ]
    )
    assert paths(drives) == [
        ["20250101_120000.mp4", "20250101_120100.mp4", "20250101_120200.mp4"],
        ["20250101_130000.mp4"],
    ]
    assert [drive.gaps_s for drive in drives] == [(0.04, 0.0), ()]


@pytest.mark.parametrize(
    ("second", "gap_s"),
    [(60, 0.0), (65, 5.0), (70, 10.0), (71, None), (58, -2.0), (57, -3.0), (56, None), (0, None)],
)
def test_gaps_and_overlaps_have_limits(second: int, gap_s: float | None) -> None:
    later = f"a/20250101_12{second // 60:02d}{second % 60:02d}x.mp4"
    drives = find_drives([clip("a/20250101_120000x.mp4"), clip(later)])
    assert [drive.gaps_s for drive in drives] == ([(), ()] if gap_s is None else [(gap_s,)])


def test_midnight_is_no_end() -> None:
    drives = find_drives([clip("20250131_235930.mp4"), clip("20250201_000030.mp4")])
    assert [drive.gaps_s for drive in drives] == [(0.0,)]


def test_cameras_are_drives_of_their_own() -> None:
    names = [f"NO20250101-12{m:02d}00-{m:06d}{c}.MP4" for m in range(3) for c in "FR"]
    drives = find_drives([clip(name) for name in names])
    assert paths(drives) == [names[::2], names[1::2]]


def test_chapters_need_no_clock_and_none_may_be_missing() -> None:
    names = ["GH040007.MP4", "GH010007.MP4", "GH020007.MP4", "GH010008.MP4"]
    drives = find_drives([clip(name) for name in names])
    assert paths(drives) == [
        ["GH040007.MP4"],
        ["GH010007.MP4", "GH020007.MP4"],
        ["GH010008.MP4"],
    ]


def test_containers_tell_the_begin_where_names_do_not() -> None:
    drives = find_drives(
        [
            clip("GRMN0001.MP4", 60, 0),
            clip("GRMN0002.MP4", 60, 61),
            clip("GRMN0003.MP4", 20, 121),
            clip("GRMN0004.MP4", 60, 500),
            clip("GRMN0005.MP4", 60, None),
        ]
    )
    assert paths(drives) == [
        ["GRMN0001.MP4", "GRMN0002.MP4", "GRMN0003.MP4"],
        ["GRMN0004.MP4"],
        ["GRMN0005.MP4"],
    ]
    assert drives[0].gaps_s == (1.0, 0.0)


def test_containers_may_tell_the_end() -> None:
    """The last clip is short: counted from its begin it would overlap the one before."""
    drives = find_drives([clip("a1.mp4", 60, 60), clip("a2.mp4", 15, 75)])
    assert [drive.gaps_s for drive in drives] == [(0.0,)]


def test_the_name_counts_before_the_container() -> None:
    drives = find_drives([clip("20250101_120000.mp4", 60, 0), clip("20250101_120100.mp4", 60, 900)])
    assert [drive.gaps_s for drive in drives] == [(0.0,)]


def test_time_lapse_is_not_joined() -> None:
    """Its clips play for seconds and show minutes."""
    drives = find_drives([clip("20250101_120000.mp4", 6), clip("20250101_120300.mp4", 6)])
    assert len(drives) == 2


def test_clips_of_another_size_or_that_cannot_be_read_end_a_drive() -> None:
    drives = find_drives(
        [
            clip("20250101_120000.mp4"),
            clip("20250101_120100.mp4", size_wh=(1280, 720)),
            Recording("20250101_120200.mp4", None),
            clip("20250101_120300.mp4", duration_s=None),
        ]
    )
    assert [len(drive.clips) for drive in drives] == [1, 1, 1, 1]


def test_each_clip_is_in_one_drive() -> None:
    recordings = [clip(f"2025010{d}_12{m:02d}00.mp4") for d in (1, 2) for m in (5, 0, 1, 2, 9)]
    found = [each for drive in find_drives(recordings) for each in drive.clips]
    assert sorted(found, key=str) == sorted(recordings, key=str)
