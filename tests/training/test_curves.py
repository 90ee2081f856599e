"""TensorBoard events and curves of a run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest

from roadseg.core.errors import SinkError
from roadseg.core.labels import CLASS_NAMES
from roadseg.training.curves import Board, _figure, draw_curves

pytestmark = pytest.mark.usefixtures("as_typed")

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


def test_log_and_pictures_show_rate_norm_and_returns(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    extra = {"learning_rate": 1e-3, "gradient_norm": 2.5}
    lines = [line | extra for line in LINES]
    lines.append(lines[0] | {"epoch": 3, "loss": None, "returned_to": 1, "rate_scale": 0.5})
    board = Board(tmp_path)
    for line in lines:
        board.write(line)
    board.close()
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [e.step for e in events.Scalars("gradient_norm")] == [1, 2, 3]
    assert [(e.step, e.value) for e in events.Scalars("rate_scale")] == [(3, 0.5)]
    write_log(tmp_path, lines)
    path = draw_curves(tmp_path)
    picture = cv2.imread(str(path)).astype(int)
    blue, green, red = (picture[..., i] for i in range(3))
    assert ((red > 200) & (green < 60) & (blue < 60)).sum() > 100  # the line where it went back
    assert ((blue > 150) & (red < 60)).sum() > 20  # the learning rate
    assert ((red > 200) & (blue < 60) & (green > 100) & (green < 160)).sum() > 20  # the norm


def black_in_right_half(lines: list[dict[str, Any]], folder: Path) -> int:
    """Black pixels between the axes of the IoU."""
    write_log(folder, lines)
    picture = cv2.imread(str(draw_curves(folder)))
    height, width = picture.shape[:2]
    inside = picture[height // 10 : height * 8 // 10, width * 6 // 10 : width * 8 // 10]
    return int((inside.max(axis=2) < 60).sum())


def test_one_validation_is_a_point(tmp_path: Path) -> None:
    # An empty plot is not all white: ticks. The point of the mean is some 40 pixels more; it is in
    # the middle of three epochs.
    last = LINES[0] | {"epoch": 3}
    one = [line | {"iou": [0.2] * 11} if "iou" in line else line for line in [*LINES, last]]
    nothing = [one[0], one[1] | {"miou": None}, last]
    assert black_in_right_half(one, tmp_path) >= black_in_right_half(nothing, tmp_path) + 20


@pytest.mark.parametrize("count", [1, 2, 6, 250])
def test_all_show_the_same_epochs_and_no_halves(count: int) -> None:
    """A single validation would have a range of its own."""
    lines = [LINES[0] | {"epoch": epoch} for epoch in range(1, count + 1)]
    lines[-1] |= {"miou": 0.5, "iou": [0.5] * 11}
    figure = _figure(lines, CLASS_NAMES)
    for axes in figure.axes:
        low, high = axes.get_xlim()
        assert 0 < low < 1
        assert count < high <= count + 7
        ticks = [tick for tick in axes.get_xticks() if low <= tick <= high]
        assert ticks
        assert all(tick == int(tick) for tick in ticks)


def test_before_the_first_validation_the_picture_says_so(tmp_path: Path) -> None:
    assert black_in_right_half(LINES[:1], tmp_path) > 50
