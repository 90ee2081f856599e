"""TensorBoard events and curves of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from roadseg.errors import SinkError
from roadseg.training.curves import Board, draw_curves

LINES = [
    {"epoch": 1, "step": 4, "elapsed_s": 1.0, "loss": 2.0},
    {"epoch": 2, "step": 8, "elapsed_s": 2.0, "loss": 1.0, "miou": 0.5, "iou": [0.5] * 11},
]


def write_log(folder: Path, lines: list[dict[str, Any]]) -> None:
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_curves_are_drawn_from_the_log(tmp_path: Path) -> None:
    # A class that neither the labels nor the network showed has no IoU.
    write_log(tmp_path, [*LINES, LINES[1] | {"epoch": 3, "iou": [None] + [0.6] * 10}])
    path = draw_curves(tmp_path)
    assert path == tmp_path / "curves.png"
    picture = cv2.imread(str(path))
    assert picture.shape[1] > 900
    # Axes, curves and legend in many colours on white.
    assert 0.02 < (picture.min(axis=2) < 200).mean() < 0.5


def test_events_hold_what_the_log_holds(tmp_path: Path) -> None:
    board = Board(tmp_path)
    for line in LINES:
        board.write(line)
    board.close()
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 2.0), (2, 1.0)]
    assert [(e.step, e.value) for e in events.Scalars("iou/road")] == [(2, 0.5)]


def test_events_of_a_run_that_was_killed_are_hidden(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for lines in (LINES, [LINES[1] | {"loss": 7.0}]):
        board = Board(tmp_path)
        for line in lines:
            board.write(line)
        board.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 2.0), (2, 7.0)]


def test_events_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "tensorboard").write_text("")
    with pytest.raises(SinkError) as caught:
        Board(tmp_path).write(LINES[0])
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'tensorboard'} (File exists): free some space and go on with "
        "--resume"
    )


def test_a_class_without_an_iou_has_no_event(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board(tmp_path)
    board.write(LINES[1] | {"iou": [None] + [0.5] * 10})
    board.close()
    tags = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Tags()["scalars"]
    assert "iou/building" in tags
    assert "iou/sky" not in tags


def test_both_are_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch.utils.tensorboard", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    board = Board(tmp_path)
    board.write(LINES[0])
    board.close()
    write_log(tmp_path, LINES[:1])
    assert draw_curves(tmp_path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]
