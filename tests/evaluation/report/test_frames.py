"""Which frames are shown, and what their pictures show."""

from __future__ import annotations

import math

import numpy as np

from roadseg.evaluation.evaluate import FrameResult
from roadseg.evaluation.report.frames import (
    BORDER_ERROR_RGB,
    INNER_ERROR_RGB,
    Extremes,
    frame_miou,
    paint,
)
from tests.support.report import frame, half


def test_frame_miou_counts_the_classes_of_the_truth() -> None:
    predicted, true = half(0, 2), half(0, 1)
    assert frame_miou(predicted, true) == 0.5
    assert math.isnan(frame_miou(predicted, np.full_like(true, 11)))


def with_errors(index: int, wrong_columns: int) -> FrameResult:
    predicted = half(0, 1)
    predicted[:, :wrong_columns] = 5
    return frame(index, predicted, half(0, 1))


def number(result: FrameResult) -> dict[str, bytes]:
    return {"number": b"%d" % result.index}


def test_extremes_keep_their_distance() -> None:
    extremes = Extremes(number, count=2, gap=3)
    for index, wrong in enumerate([4, 9, 8, 1, 0, 7, 2, 3]):
        extremes.update(with_errors(index, wrong))
    # Frame 2 is worse than frame 5 and too near to frame 1.
    assert [f.index for f in extremes.worst()] == [1, 5]
    assert [f.index for f in extremes.best()] == [4, 7]
    assert extremes.best()[0].miou == 1.0
    assert extremes.worst()[1].pictures == {"number": b"5"}


def test_the_next_worst_behind_a_chain_of_ever_worse_frames() -> None:
    extremes = Extremes(number, gap=4)
    for index in range(12):
        extremes.update(with_errors(index, index + 1))
    assert [f.index for f in extremes.worst()] == [11, 7, 3]
    assert [f.index for f in extremes.best()] == [0, 4, 8]


def test_of_many_frames_few_are_drawn() -> None:
    drawn: list[int] = []

    def draw(result: FrameResult) -> dict[str, bytes]:
        drawn.append(result.index)
        return {}

    extremes = Extremes(draw, gap=16)
    rng = np.random.default_rng(0)
    wrong = rng.integers(1, 80, 200)
    wrong[[70, 75, 140]] = 80
    for index, columns in enumerate(wrong):
        extremes.update(with_errors(index, columns))
    worst = [f.index for f in extremes.worst()]
    assert worst[:2] == [70, 140]
    assert all(abs(a - b) >= 16 for a in worst for b in worst if a != b)
    # Those of each quarter of a gap: of 50 parts, at most two each.
    assert 50 <= len(drawn) == len(set(drawn)) <= 100
    assert len(extremes.best()) == 3


def test_extremes_of_fewer_frames_than_wanted() -> None:
    extremes = Extremes(number, count=3)
    extremes.update(with_errors(0, 4))
    assert [f.index for f in extremes.worst() + extremes.best()] == [0, 0]


def test_pictures_show_what_is_wrong_and_where() -> None:
    true = half(0, 1)
    predicted = true.copy()
    predicted[10:20, 30:45] = 7  # the border is between columns 39 and 40
    true[50:] = 11
    pictures = paint(frame(0, predicted, true), tolerance_px=4)
    assert list(pictures) == ["frame", "truth", "prediction", "errors"]
    errors = pictures["errors"][..., ::-1]
    near = (errors == BORDER_ERROR_RGB).all(axis=2)
    inner = (errors == INNER_ERROR_RGB).all(axis=2)
    assert near[10:20, 36:44].all()
    assert near.sum() == 10 * 8
    assert inner[10:20, 30:36].all()
    assert inner.sum() == 10 * 7
    assert errors[55, 5].max() < errors[5, 5].max()
    np.testing.assert_array_equal(pictures["frame"], np.full((60, 80, 3), 100))
