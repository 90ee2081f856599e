"""Labels have the size of the frame, for frames of any size, and stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.loading.segmenter import Segmenter
from tests.support.frames import gradient


def test_labels_have_the_size_of_the_frame():
    with Segmenter(backend="fake") as segmenter:
        label_map = segmenter(gradient(360, 480))
    assert label_map.ids.shape == (360, 480)
    assert label_map.ids.dtype == np.uint8
    assert label_map.network_ids.shape == (352, 480)
    # Left to right the green channel runs from class 0 to class 10.
    assert (np.diff(label_map.ids[100].astype(int)) >= 0).all()
    assert label_map.ids[100, 0] == 0
    assert label_map.ids[100, -1] == 10


def test_a_frame_of_the_network_size_is_labelled_exactly():
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    label_map = Segmenter(backend="fake", size_hw=(64, 96))(frame)
    np.testing.assert_array_equal(label_map.ids, frame[..., 1].astype(int) * 11 // 256)


def test_size_is_obeyed():
    segmenter = Segmenter(backend="fake", size_hw=(96, 64))
    assert segmenter.network_hw is None
    assert segmenter.backend_info is None
    assert segmenter(gradient(50, 200)).network_ids.shape == (96, 64)
    assert segmenter.network_hw == (96, 64)
    assert segmenter.backend_info is not None
    assert segmenter.backend_info.name == "fake"


def test_results_are_not_overwritten_by_the_next_frame():
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    black = segmenter(np.zeros((40, 40, 3), np.uint8))
    white = segmenter(np.full((40, 40, 3), 255, np.uint8))
    assert (black.ids == 0).all()
    assert (white.ids == 10).all()


def test_the_frame_is_not_written_to():
    frame = gradient(50, 70)
    before = frame.copy()
    Segmenter(backend="fake")(frame)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 3000), (3000, 1), (33, 47), (1080, 1920)])
def test_any_size_of_frame(size_hw):
    assert Segmenter(backend="fake")(np.zeros((*size_hw, 3), np.uint8)).ids.shape == size_hw


def test_views_that_are_not_contiguous():
    frame = gradient(64, 96)[::2, ::-3]
    assert Segmenter(backend="fake", size_hw=(32, 32))(frame).ids.shape == (32, 32)
