"""Scores on classes other than CamVid's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.errors import DataError, ModelError
from roadseg.core.labels import SUNRGBD, ClassSet
from roadseg.datasets.clip import LabelledClip
from roadseg.evaluation.evaluate import evaluate_backend
from roadseg.metrics.boundary import boundary_f1

# What `FakeBackend` gives for black, grey and white is 0, 5 and 10.
GREYS = ClassSet("greys", tuple("abcdefghijkl"), tuple((i, i, i) for i in range(12)))
FEW = ClassSet("few", ("a", "b"), ((1, 1, 1), (2, 2, 2)))


def frame(*values: int) -> np.ndarray:
    """Upright stripes of these greys."""
    row = np.repeat(np.array(values, np.uint8), 96 // len(values))
    return row[None, :, None].repeat(64, 0).repeat(3, 2)


def test_classes_and_void_follow_the_set() -> None:
    labels = np.zeros((64, 96), np.uint8)
    labels[:, 48:] = 10
    labels[:8] = 12  # void, which is 11 for CamVid
    scores = evaluate_backend(FakeBackend((64, 96)), [(frame(0, 255), labels)], classes=GREYS)
    assert scores.global_accuracy == 1
    assert scores.class_names == GREYS.names
    assert len(scores.per_class_iou) == len(scores.per_class_bf) == 12
    iou = scores.to_json()["per_class_iou"]
    assert isinstance(iou, dict)
    assert (iou["a"], iou["k"], iou["l"]) == (1.0, 1.0, None)


def test_class_11_of_other_sets_is_no_void() -> None:
    labels = np.full((64, 96), 11, np.uint8)
    scores = evaluate_backend(FakeBackend((64, 96)), [(frame(0), labels)], classes=SUNRGBD)
    assert scores.global_accuracy == 0
    edge = np.zeros((40, 40), np.uint8)
    edge[:, 20:] = 11
    f1, in_truth = boundary_f1(edge, edge, 37)
    assert (f1[0], f1[11]) == (1.0, 1.0)
    assert np.flatnonzero(in_truth).tolist() == [0, 11]


def test_a_model_that_predicts_more_classes() -> None:
    labels = np.zeros((64, 96), np.uint8)
    with pytest.raises(ModelError) as error:
        evaluate_backend(FakeBackend((64, 96)), [(frame(0, 255), labels)], classes=FEW)
    assert str(error.value) == (
        "fake predicts class id 10, which the 2 classes of few (a, b) do not have: score it on "
        "data of the classes it was trained on"
    )


def test_labels_of_a_clip(tmp_path: Path) -> None:
    array = np.full((2, 4, 6), 37, np.uint8)
    array[1] = 255  # void, as in a folder of one's own classes
    np.save(tmp_path / "labels.npy", array)
    clip = LabelledClip("drive.mp4", tmp_path / "labels.npy", SUNRGBD)
    assert clip.classes is SUNRGBD
    np.save(tmp_path / "labels.npy", array[:1] + 1)
    with pytest.raises(DataError) as error:
        LabelledClip("drive.mp4", tmp_path / "labels.npy", SUNRGBD)
    assert str(error.value) == (
        f"labels {tmp_path}/labels.npy holds class id 38: ids are 0..36, and 37 or 255 for void: "
        "label the frames with the classes that the model knows"
    )
