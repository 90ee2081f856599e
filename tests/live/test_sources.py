"""What a source is, and what it is called."""

from __future__ import annotations

import pytest

from roadseg.live.sources import is_live, source_name


@pytest.mark.parametrize(
    ("spec", "taken", "name"),
    [
        ("0", [], "camera-0"),
        ("0", ["Camera-0", "camera-0-2"], "camera-0-3"),
        ("csi://1?fps=30", [], "csi-1"),
        ("rtsp://10.0.0.7/live?token=1", [], "10.0.0.7-live"),
        ("rtsp://user:secret@10.0.0.7/live", [], "10.0.0.7-live"),
        ("drives/monday am.mp4", [], "monday-am"),
        ("///", [], "source"),
    ],
)
def test_names_are_readable_and_each_its_own(spec: str, taken: list[str], name: str) -> None:
    assert source_name(spec, taken) == name


@pytest.mark.parametrize(
    ("spec", "live"),
    [
        ("0", True),
        ("rtsp://10.0.0.7/live", True),
        ("http://10.0.0.7/video", True),
        ("http://10.0.0.7/drive.mp4?token=1", False),
        ("drive.mp4", False),
        ("https://10.0.0.7/STILL.JPG", False),
    ],
)
def test_cameras_and_streams_are_live(spec: str, live: bool) -> None:
    assert is_live(spec) is live
