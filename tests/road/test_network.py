"""What the read-outs make of a real network's labels, on forty frames of the sample drive."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg import Segmenter
from roadseg.core.types import Image, Labels
from roadseg.datasets.clip import LabelledClip
from roadseg.evaluation.flicker import Flicker
from roadseg.metrics.confusion import ConfusionMatrix
from roadseg.road import PrivacyMask, Steady, Vocabulary

_SAMPLES = Path(__file__).resolve().parents[2] / "samples"
_FRAMES = range(50, 90)


@pytest.fixture(scope="module")
def seen() -> list[tuple[Image, Labels, Labels]]:
    """Frame, the network's labels and true ones, at the network's size."""
    found = []
    clip = LabelledClip(_SAMPLES / "drive.mp4", _SAMPLES / "drive_labels.npz")
    with Segmenter("segnet-lite", "openvino", threads=1) as segmenter:
        for index, (frame_bgr, labels) in enumerate(clip):
            if index in _FRAMES:
                network_bgr, _ = segmenter.preprocess(frame_bgr)
                true = cv2.resize(labels, (480, 352), interpolation=cv2.INTER_NEAREST_EXACT)
                found.append((network_bgr.copy(), segmenter.infer(network_bgr).copy(), true))
    return found


def judged(maps: list[Labels], true: list[Labels]) -> tuple[float, ConfusionMatrix]:
    flicker, matrix = Flicker(), ConfusionMatrix()
    for ids, true_ids in zip(maps, true, strict=True):
        flicker.update(ids, true_ids)
        matrix.update(ids, true_ids)
    return flicker.score, matrix


def test_steady_labels_flicker_less_and_are_not_worse(
    seen: list[tuple[Image, Labels, Labels]],
) -> None:
    steady = Steady(Vocabulary())
    pushed = [steady.push(frame_bgr, labels) for frame_bgr, labels, _ in seen]
    steadied = [each for each in [*pushed[1:], steady.flush()] if each is not None]
    true = [true_ids for *_, true_ids in seen]
    before, raw = judged([labels for _, labels, _ in seen], true)
    after, calm = judged(steadied, true)
    assert after < 0.65 * before
    assert calm.miou >= raw.miou
    for slender in ("pole", "pedestrian", "sign", "bicyclist"):
        position = Vocabulary().ids(slender)[0]
        # Not smeared: a smear would cost a pole many points.
        assert calm.per_class_iou[position] > raw.per_class_iou[position] - 0.005


def test_people_are_covered_and_better_with_a_margin(
    seen: list[tuple[Image, Labels, Labels]],
) -> None:
    covered = {}
    for margin, hold_s in ((0.0, 0.0), (0.02, 0.5)):
        mask = PrivacyMask(["people"], Vocabulary(), margin=margin, hold_s=hold_s)
        hidden = [mask.update(i / 15, labels) > 0 for i, (_, labels, _) in enumerate(seen)]
        people = [np.isin(true, (9, 10)) for *_, true in seen]
        covered[margin] = np.concatenate(hidden)[np.concatenate(people)].mean()
    assert covered[0.0] > 0.8
    assert covered[0.02] > 0.98
