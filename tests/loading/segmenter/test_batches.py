"""Several pictures in one call."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.loading.segmenter import Segmenter
from tests.support.frames import gradient, plain


def test_a_batch_of_pictures_of_different_sizes():
    frames = [gradient(360, 480), gradient(720, 960)[:, ::-1], gradient(352, 480)]
    with Segmenter(backend="fake") as segmenter:
        label_maps = segmenter.segment_batch(frames)
        assert [label_map.ids.shape for label_map in label_maps] == [f.shape[:2] for f in frames]
        for frame, label_map in zip(frames, label_maps, strict=True):
            np.testing.assert_array_equal(label_map.ids, segmenter(frame).ids)
        assert segmenter.segment_batch([]) == []


def test_batches_do_not_overwrite_each_other():
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    black = segmenter.segment_batch([plain(0), plain(0, (50, 20))])
    white = segmenter.segment_batch([plain(255), plain(255)])
    assert all((label_map.ids == 0).all() for label_map in black)
    assert all((label_map.ids == 10).all() for label_map in white)


def test_a_batch_needs_one_network():
    segmenter = Segmenter(backend="fake")
    with pytest.raises(ValueError) as caught:
        segmenter.segment_batch([gradient(360, 480), gradient(360, 480), gradient(540, 960)])
    assert str(caught.value) == (
        "frame 0 needs a 352x480 network and frame 2 a 320x576 one: "
        "give Segmenter a size_hw for all"
    )
    with pytest.raises(ValueError, match=r"^expected a \(H, W, 3\) uint8 BGR frame, got \(4, 5\)"):
        segmenter.segment_batch([gradient(360, 480), np.zeros((4, 5), np.uint8)])


@pytest.mark.parametrize(("frames", "got"), [(None, "None"), ("a.jpg", "str"), (3, "int")])
def test_what_is_no_batch_is_refused(frames, got):
    with pytest.raises(TypeError) as caught:
        Segmenter(backend="fake").segment_batch(frames)
    assert str(caught.value) == (
        f"expected a list of frames, a (H, W, 3) uint8 BGR frame each, got {got}"
    )


def test_one_array_of_several_frames_is_a_batch():
    frames = np.stack([plain(0), plain(255)])
    black, white = Segmenter(backend="fake").segment_batch(frames)
    assert (black.ids == 0).all()
    assert (white.ids == 10).all()
