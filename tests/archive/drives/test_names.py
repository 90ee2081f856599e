"""Names as dashcams and action cameras give them."""

from __future__ import annotations

from datetime import datetime

import pytest

from roadseg.archive.drives.names import read_clip_name

NOON = datetime(2025, 1, 1, 12, 0, 7)


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("20250101_120007.MP4", "*.mp4"),
        ("20250101120007.MP4", "*.mp4"),
        ("20250101_120007F.MP4", "*f.mp4"),
        ("20250101_120007_R.mp4", "*r.mp4"),
        ("2025_0101_120007_001F.MP4", "*f.mp4"),
        ("20250101120007_000123F.MP4", "*f.mp4"),
        ("FILE250101-120007-0001.MP4", "file*.mp4"),
        ("FILE250101-120007F.MP4", "file*f.mp4"),
        ("250101_120007_001_FH.MP4", "*fh.mp4"),
        ("NO20250101-120007-000001F.MP4", "no*f.mp4"),
        ("EV20250101-120007-000001F.MP4", "ev*f.mp4"),
        ("REC_2025_01_01_12_00_07_F.MP4", "rec*f.mp4"),
        ("2025-01-01_12-00-07-front.mp4", "*front.mp4"),
        ("2025-01-01_12-00-07-left_repeater.mp4", "*left_repeater.mp4"),
        ("VID_20250101_120007.mp4", "vid*.mp4"),
        ("PXL_20250101_120007.mp4", "pxl*.mp4"),
        ("DJI_20250101120007_0001_D.MP4", "dji*d.mp4"),
        # Normal, event and manual clips follow each other; parking is another recording.
        ("20250101_120007_NF.mp4", "*f.mp4"),
        ("20250101_120007_EF.mp4", "*f.mp4"),
        ("20250101_120007_PF.mp4", "*pf.mp4"),
        ("20250101_120007_NR.mp4", "*r.mp4"),
    ],
)
def test_the_begin_and_the_camera_are_in_the_name(name: str, camera: str) -> None:
    found = read_clip_name(f"card/{name}")
    assert (found.begins, found.camera, found.chapter) == (NOON, f"card/{camera}", None)


@pytest.mark.parametrize(
    ("name", "camera", "chapter"),
    [
        ("GH010123.MP4", "gh0123.mp4", 1),
        ("GX120123.MP4", "gx0123.mp4", 12),
        ("GOPR0123.MP4", "gp0123.mp4", 0),
        ("GP010123.MP4", "gp0123.mp4", 1),
    ],
)
def test_chapters_of_one_recording(name: str, camera: str, chapter: int) -> None:
    found = read_clip_name(name)
    assert (found.begins, found.camera, found.chapter) == (None, camera, chapter)


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("GRMN0001.MP4", "grmn*.mp4"),
        ("clip.mp4", "clip.mp4"),
        ("20251301_120000.mp4", "*_*.mp4"),  # there is no month 13
        ("20250101_250000.mp4", "*_*.mp4"),
        ("1202501011200079.mp4", "*.mp4"),  # a longer number
    ],
)
def test_other_names_tell_only_which_clips_may_belong_together(name: str, camera: str) -> None:
    found = read_clip_name(name)
    assert (found.begins, found.camera, found.chapter) == (None, camera, None)


def test_clips_in_other_folders_are_of_other_cameras() -> None:
    names = ("Front/20250101_120000.MP4", "Rear/20250101_120000.MP4")
    assert len({read_clip_name(name).camera for name in names}) == 2
