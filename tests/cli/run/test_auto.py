"""`roadseg run` without a model: it says what it takes, and takes what it is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from roadseg.cli import main
from roadseg.loading import auto
from roadseg.loading.ladder.timing import Timing
from tests.support.clips import write_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", frames=3, size_hw=(36, 48), rate=25)


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Callable[[float], list[float]]:
    """Says that a rung takes so many times its cost, and remembers what was allowed."""
    asked: list[float] = []

    def make(ms_per_cost: float) -> list[float]:
        def time_rungs(rungs: Any, allowed_ms: float, known_ms: Any, *_: Any, **__: Any) -> Timing:
            asked.append(allowed_ms)
            return Timing({rung: rung.cost_ms * ms_per_cost for rung in rungs})

        monkeypatch.setattr("roadseg.loading.ladder.settle.time_rungs", time_rungs)
        monkeypatch.setattr(auto, "usable_cores", lambda: 2)
        return asked

    return make


def run(source: Path, tmp_path: Path, *options: str) -> dict[str, Any]:
    stats = tmp_path / "stats.json"
    common = ["--source", str(source), "--backend", "openvino", "--no-show"]
    assert main(["run", *common, "--stats-json", str(stats), *options]) == 0
    document: dict[str, Any] = json.loads(stats.read_text(encoding="utf-8"))
    return document


def test_one_line_says_what_is_taken_and_the_statistics_name_it(
    clip: Path,
    tmp_path: Path,
    timed: Callable[[float], list[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = timed(2.0)
    stats = run(clip, tmp_path, "--reuse", "1")
    how = stats["auto"]
    assert (how["rate"], how["rate_assumed"]) == (25.0, False)
    assert how["size_hw"] == stats["size_hw"]
    assert how["network_ms"] <= asked[0] == pytest.approx(how["allowed_ms"], abs=0.01)
    height, width = stats["size_hw"]
    assert height * width < 352 * 480
    assert stats["reuse"] == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        f"{how['model']} at {height}x{width}: the most accurate that keeps up with"
    )
    assert line.endswith(f"; --model {how['model']} --size HxW takes another")


def test_a_file_is_seen_every_second_frame_where_that_is_better(
    clip: Path,
    tmp_path: Path,
    timed: Callable[[float], list[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    timed(1.0)
    stats = run(clip, tmp_path)
    assert (stats["reuse"], stats["frames_out"]) == (2, 3)
    captured = capsys.readouterr()
    assert " on every second frame: the most accurate that keeps up" in captured.err
    assert ", one frame in 2), latency" in captured.out
    all_frames = run(clip, tmp_path, "--reuse", "1")
    assert all_frames["reuse"] == 1
    assert all_frames["auto"]["miou"] < stats["auto"]["miou"]
    assert "second frame" not in capsys.readouterr().err


@pytest.mark.parametrize("options", [("--blur", "car"), ("--doubt",), ("--view", "doubt")])
def test_what_needs_every_frame_gets_it(
    clip: Path, tmp_path: Path, timed: Callable[[float], list[float]], options: tuple[str, ...]
) -> None:
    timed(1.0)
    assert run(clip, tmp_path, *options)["reuse"] == 1


def test_where_nothing_keeps_up_the_fastest_is_taken(
    clip: Path,
    tmp_path: Path,
    timed: Callable[[float], list[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    timed(50.0)
    stats = run(clip, tmp_path)
    assert stats["size_hw"] == [192, 256]
    assert stats["auto"]["keeps_up"] is False
    assert "the fastest; it does not keep up with 25 frames a second" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [("--model", "segnet-lite"), ("--size", "352x480"), ("--model", "auto", "--size", "352x480")],
)
def test_what_is_asked_for_is_taken_without_a_word(
    clip: Path,
    tmp_path: Path,
    timed: Callable[[float], list[float]],
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
) -> None:
    asked = timed(50.0)
    stats = run(clip, tmp_path, *options)
    assert (stats["model"], stats["size_hw"]) == ("segnet-lite", [352, 480])
    assert "auto" not in stats
    assert asked == []
    assert capsys.readouterr().err == ""


def test_a_picture_gets_the_most_accurate(
    tmp_path: Path, timed: Callable[[float], list[float]], capsys: pytest.CaptureFixture[str]
) -> None:
    asked = timed(50.0)
    picture = tmp_path / "street.png"
    cv2.imwrite(str(picture), np.full((36, 48, 3), 90, np.uint8))
    stats = run(picture, tmp_path)
    assert (stats["size_hw"], stats["reuse"]) == ([352, 480], 1)
    assert asked == []
    assert "since pictures need not be kept up with" in capsys.readouterr().err
