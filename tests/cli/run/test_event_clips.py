"""`roadseg run --event-clips`: what a user finds in the folder and in the file of events."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from roadseg.cli import main
from tests.support.clips import write_clip

RULE = "bright: sign > 50% for 0.1s"  # by the fake network, green 150 is a sign


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Four seconds at 25 FPS: somebody shows a sign from 2 s on, for a second."""
    shades = [150 if 50 <= index < 75 else 90 for index in range(100)]
    images = [np.full((64, 96, 3), shade, np.uint8) for shade in shades]
    return write_clip(tmp_path / "drive.mp4", images=images)


def run(source: Path, *options: object) -> int:
    plain = ["run", str(source), "--backend", "fake", "--size", "64x96", "--no-show"]
    return main([*plain, *map(str, options)])


def length_s(path: Path) -> float:
    with av.open(str(path)) as clip:
        return len(list(clip.decode(video=0))) / 25


@pytest.mark.parametrize("output", [None, "out.mp4", "pictures"])
def test_each_event_has_a_line_a_clip_and_a_snapshot(
    source: Path, tmp_path: Path, output: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    clips, events = tmp_path / "clips", tmp_path / "events.jsonl"
    options = ["--event", RULE, "--events", events, "--event-clips", clips]
    if output is not None:
        options += ["--output", tmp_path / output]
    assert run(source, *options, "--pre-roll", 1, "--post-roll", 0.5) == 0
    (event,) = map(json.loads, events.read_text(encoding="utf-8").splitlines())
    assert (event["clip"], event["snapshot"]) == (
        str(clips / "0001-bright.mp4"),
        str(clips / "0001-bright.jpg"),
    )
    asked_for_s = 1 + (event["end_s"] - event["start_s"]) + 0.5
    assert asked_for_s <= length_s(Path(event["clip"])) <= asked_for_s + 1
    assert Path(event["snapshot"]).read_bytes()[:2] == b"\xff\xd8"
    assert f"written to {clips}" in capsys.readouterr().out
    # A second run adds to the folder and overwrites nothing.
    assert run(source, *options) == 0
    assert sorted(path.name for path in clips.iterdir()) == [
        f"000{number}-bright.{suffix}" for number in (1, 2) for suffix in ("jpg", "mp4")
    ]


def test_clips_are_a_result_of_their_own_and_nothing_else_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(source, "--event", RULE, "--event-clips", "clips") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clips", "drive.mp4"]


def test_clips_with_steady_labels(source: Path, tmp_path: Path) -> None:
    options = ["--event", RULE, "--event-clips", tmp_path / "clips", "--smooth"]
    assert run(source, *options) == 0
    assert length_s(tmp_path / "clips" / "0001-bright.mp4") == 4


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--event-clips", "clips"], "--event NAME: car in corridor > 5%"),
        (["--event", RULE, "--event-clips", "clips", "--pre-roll", "-1"], "--pre-roll -1"),
        (["--event", RULE, "--event-clips", "clips", "--post-roll", "700"], "--post-roll 700"),
        (["--pre-roll", "20"], "--pre-roll is for clips of events, and none are written"),
        (["--event", RULE, "--post-roll", "5"], "--post-roll is for clips of events, and none"),
        (["--pre-roll", "20", "--policy", "every"], "--pre-roll is for clips of events, and none"),
        (["--event", "a: car > 5% for 700s", "--event-clips", "clips"], "too long for a clip"),
    ],
)
def test_what_cannot_be_is_one_line(
    source: Path,
    tmp_path: Path,
    options: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(source, *options) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
