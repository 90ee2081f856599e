"""TensorBoard events and curves of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import pytest

from roadseg.training.curves import Board, draw_curves

LINES = [
    {"epoch": 1, "step": 4, "elapsed_s": 1.0, "loss": 2.0},
    {"epoch": 2, "step": 8, "elapsed_s": 2.0, "loss": 1.0, "miou": 0.5, "iou": [0.5] * 11},
]


def test_curves_are_drawn_from_the_log(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text("\n".join(json.dumps(line) for line in LINES))
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


def test_both_are_optional(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch.utils.tensorboard", "matplotlib.figure", "matplotlib.backends.backend_agg"):
        monkeypatch.setitem(sys.modules, name, None)
    board = Board(tmp_path)
    board.write(LINES[0])
    board.close()
    (tmp_path / "log.jsonl").write_text(json.dumps(LINES[0]))
    assert draw_curves(tmp_path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["log.jsonl"]
