from __future__ import annotations

import json
import math
from collections.abc import Iterator

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.errors import DataError
from roadseg.core.types import Image, Labels
from roadseg.evaluation.evaluate import Scores, evaluate_backend


def picture_of(labels: Labels) -> Image:
    """The frame that `FakeBackend` labels with exactly `labels`; void is drawn as class 10."""
    green = (np.minimum(labels, 10).astype(np.uint16) * 256 + 128) // 11
    return np.repeat(green[..., None], 3, axis=2).astype(np.uint8)


class Frames:
    def __init__(self, *frames: tuple[Image, Labels]) -> None:
        self.frames = frames

    def __len__(self) -> int:
        return len(self.frames)

    def __iter__(self) -> Iterator[tuple[Image, Labels]]:
        return iter(self.frames)


def quadrants(hw: tuple[int, int] = (64, 96)) -> Labels:
    labels = np.zeros(hw, np.uint8)
    labels[: hw[0] // 2, hw[1] // 2 :] = 3
    labels[hw[0] // 2 :, : hw[1] // 2] = 8
    return labels


def test_a_perfect_backend_scores_one() -> None:
    labels = quadrants()
    labels[:5] = 11
    scores = evaluate_backend(FakeBackend((64, 96)), Frames((picture_of(labels), labels)))
    assert scores.images == 1
    for value in (scores.global_accuracy, scores.class_accuracy, scores.miou):
        assert value == 1
    assert (scores.bf_ground_truth, scores.bf_union) == (1, 1)
    assert [c for c, iou in enumerate(scores.per_class_iou) if iou == 1] == [0, 3, 8]
    assert sum(math.isnan(iou) for iou in scores.per_class_iou) == 8


def test_hand_worked_mistakes() -> None:
    true = np.zeros((64, 96), np.uint8)
    true[:, 48:] = 3
    seen = true.copy()
    seen[32:, 48:] = 8  # a quarter of the picture is taken for a car
    scores = evaluate_backend(FakeBackend((64, 96)), Frames((picture_of(seen), true)))
    assert scores.global_accuracy == pytest.approx(0.75)
    assert scores.class_accuracy == pytest.approx((1 + 0.5) / 2)
    assert scores.miou == pytest.approx((1 + 0.5 + 0) / 3)
    assert scores.per_class_iou[3] == 0.5
    assert scores.per_class_iou[8] == 0
    assert scores.per_class_accuracy[3] == 0.5
    assert math.isnan(scores.per_class_accuracy[8])
    assert scores.bf_union == pytest.approx(scores.bf_ground_truth * 2 / 3)


def test_labels_are_compared_at_their_own_resolution() -> None:
    # The network sees half of the picture's resolution: a stripe of one pixel cannot come back
    # as one pixel, and scores that were taken at the network's size would not show it.
    true = np.zeros((64, 96), np.uint8)
    true[:, 49] = 10
    scores = evaluate_backend(FakeBackend((32, 48)), Frames((picture_of(true), true)))
    assert scores.per_class_iou[10] < 0.6
    larger = quadrants((128, 192))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames((picture_of(larger), larger)))
    assert scores.miou == 1


def test_frames_of_several_sizes_are_pooled() -> None:
    first, second = quadrants((64, 96)), np.full((32, 32), 5, np.uint8)
    scores = evaluate_backend(
        FakeBackend((64, 96)),
        Frames((picture_of(first), first), (picture_of(np.full_like(second, 8)), second)),
    )
    assert scores.images == 2
    assert scores.global_accuracy == pytest.approx(64 * 96 / (64 * 96 + 32 * 32))


def test_progress_is_told_after_every_frame() -> None:
    labels = quadrants()
    told: list[tuple[str, str]] = []
    evaluate_backend(
        FakeBackend((64, 96)),
        Frames(*[(picture_of(labels), labels)] * 3),
        progress=lambda state: told.append((state.stage, state.detail)),
    )
    assert told == [("evaluating", f"{done}/3") for done in (1, 2, 3)]


def test_no_frames() -> None:
    with pytest.raises(
        DataError, match=r"^nothing to evaluate: the data set has no frames: use another"
    ):
        evaluate_backend(FakeBackend((32, 32)), Frames())


def test_nothing_but_void() -> None:
    labels = quadrants()
    void = np.full_like(labels, 11)
    frames = Frames((picture_of(labels), void), (picture_of(labels), void))
    with pytest.raises(DataError) as error:
        evaluate_backend(FakeBackend((64, 96)), frames)
    assert str(error.value) == (
        "nothing to evaluate: every pixel of the labels is void: label some of them"
    )
    # Beside other frames, one that is all void counts for nothing.
    frames = Frames((picture_of(labels), void), (picture_of(labels), labels))
    scores = evaluate_backend(FakeBackend((64, 96)), frames)
    assert (scores.images, scores.miou, scores.bf_ground_truth) == (2, 1, 1)


SCORES = Scores(
    images=2,
    global_accuracy=0.9,
    class_accuracy=0.5,
    miou=0.25,
    bf_ground_truth=0.125,
    bf_union=float("nan"),
    per_class_iou=(0.5, *[float("nan")] * 10),
    per_class_accuracy=(0.75, *[float("nan")] * 10),
    per_class_bf=(0.125, *[float("nan")] * 10),
)


def test_json_keys_and_nan_as_null() -> None:
    document = SCORES.to_json()
    assert list(document) == [
        "images",
        "global_accuracy",
        "class_accuracy",
        "miou",
        "bf",
        "bf_union",
        "per_class_iou",
        "per_class_accuracy",
        "per_class_bf",
    ]
    assert document["bf"] == 0.125
    assert document["bf_union"] is None
    per_class = document["per_class_iou"]
    assert isinstance(per_class, dict)
    assert list(per_class)[:3] == ["sky", "building", "pole"]
    assert per_class["sky"] == 0.5
    assert per_class["bicyclist"] is None
    json.dumps(document, allow_nan=False)
