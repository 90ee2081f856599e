"""Class frequencies and weights, by hand and on the real labels."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

import roadseg.datasets.labelled
from roadseg.core.labels import class_id
from roadseg.datasets.camvid import CamVid
from roadseg.training.balance import ClassFrequencies, class_frequencies, class_weights

# Two images of 8 and 4 labelled pixels; class 0 is in both, 1 in the first, 2 in the second.
LABELS = [np.array([[0, 0, 0, 0, 0, 0, 1, 1]], np.uint8), np.array([[0, 0, 2, 2]], np.uint8)]
BY_HAND = ClassFrequencies.of(LABELS, num_classes=4)


def test_frequencies_by_hand() -> None:
    np.testing.assert_array_equal(BY_HAND.pixels, [8, 2, 2, 0])
    np.testing.assert_array_equal(BY_HAND.shown, [12, 8, 4, 0])


def test_void_counts_nowhere() -> None:
    void = ClassFrequencies.of([np.array([[0, 4, 255]], np.uint8)], num_classes=4)
    np.testing.assert_array_equal(void.pixels, [1, 0, 0, 0])
    np.testing.assert_array_equal(void.shown, [1, 0, 0, 0])


@pytest.mark.parametrize(
    ("weighting", "expected"),
    [
        ("none", [1, 1, 1, 1]),
        ("median", [0.25, 1, 1, 0]),  # of 8, 2, 2 twelfths
        ("median-present", [0.75, 2, 1, 0]),  # of 2/3, 1/4, 1/2
        ("sqrt-median", [0.5, 1, 1, 0]),
        ("log", [1 / np.log(1.02 + 2 / 3), *[1 / np.log(1.02 + 1 / 6)] * 2, 0]),
    ],
)
def test_weights_by_hand(weighting: str, expected: list[float]) -> None:
    weights = class_weights(BY_HAND, weighting)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_published_weights() -> None:
    weights = class_weights(ClassFrequencies.of(LABELS), "caffe")
    assert weights[class_id("sign")] == np.float32(9.6446)
    assert weights[class_id("road")] == np.float32(0.1417)
    assert len(weights) == 11


def test_published_weights_do_not_follow_from_the_labels(camvid_dir: Path) -> None:
    frequencies = class_frequencies(CamVid(camvid_dir, "train"))
    sign = class_id("sign")
    for weighting in ("median", "median-present"):
        assert class_weights(frequencies, weighting)[sign] == pytest.approx(3.8, abs=0.1)


def test_counts_are_cached_until_a_label_changes(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROADSEG_CACHE", str(tmp_path / "cache"))
    data = CamVid(tiny_camvid, "train")
    with monkeypatch.context() as patch:
        patch.setattr(roadseg.datasets.labelled, "read_image", None)  # only labels are counted
        first = class_frequencies(data)
    expected = ClassFrequencies.of([y for _, y in data])
    np.testing.assert_array_equal(first.pixels, expected.pixels)
    np.testing.assert_array_equal(first.shown, expected.shown)
    with monkeypatch.context() as patch:
        patch.setattr(roadseg.datasets.labelled, "read_labels", None)
        again = class_frequencies(data)
    np.testing.assert_array_equal(again.pixels, first.pixels)
    cv2.imwrite(str(data.pairs[0][1]), np.full((64, 96), 9, np.uint8))
    assert class_frequencies(data).pixels[9] == 64 * 96
    (kept,) = [
        p for p in (tmp_path / "cache").rglob("*.json") if "9" in p.read_text(encoding="utf-8")
    ][:1]
    kept.write_text("{damaged")
    assert class_frequencies(data).pixels[9] == 64 * 96


def test_an_unwritable_cache_is_no_error(
    tiny_camvid: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ROADSEG_CACHE", str(tmp_path / "file"))
    assert class_frequencies(CamVid(tiny_camvid, "train")).pixels.sum() == 6 * 64 * 96
