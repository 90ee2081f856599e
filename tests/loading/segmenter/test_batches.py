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


def of_one(segmenter, frame):
    segmenter(frame)
    return segmenter.scores


def test_the_scores_of_a_batch_are_those_of_its_last_frame():
    frames = [plain(level, (64, 96)) for level in (20, 120, 220)]
    with Segmenter(backend="fake", size_hw=(64, 96), scores=True) as segmenter:
        expected = of_one(segmenter, frames[-1])
        labels = [segmenter(frame).ids for frame in frames]
        for use in (
            lambda: [each.ids for each in segmenter.segment_batch(frames)],
            lambda: segmenter.infer_batch(np.stack(frames)),
        ):
            segmenter(frames[0])
            assert not np.array_equal(segmenter.scores, expected)
            np.testing.assert_array_equal(use(), labels)
            np.testing.assert_array_equal(segmenter.scores, expected)
            assert segmenter.scores.base is None, "the scores of the others are let go"
        # Of none there are no labels that came later.
        assert segmenter.segment_batch([]) == []
        assert segmenter.infer_batch(np.stack(frames)[:0]).shape == (0, 64, 96)
        np.testing.assert_array_equal(segmenter.scores, expected)


def test_a_network_that_gives_scores_takes_batches(xml_file):
    frames = [gradient(64, 96), gradient(64, 96)[:, ::-1]]
    with Segmenter(
        str(xml_file), "openvino", size_hw=(64, 96), threads=1, scores=True
    ) as segmenter:
        last = of_one(segmenter, frames[-1])
        of_one(segmenter, frames[0])
        segmenter.segment_batch(frames)
        np.testing.assert_array_equal(segmenter.scores, last)
        of_one(segmenter, frames[0])
        ids = segmenter.infer_batch(np.stack(frames))
        np.testing.assert_array_equal(segmenter.scores, last)
        np.testing.assert_array_equal(ids[-1], last.argmax(axis=0))
        assert segmenter.infer_batch(np.zeros((0, 64, 96, 3), np.uint8)).shape == (0, 64, 96)


@pytest.mark.parametrize("scores", [False, True])
def test_a_batch_of_no_inputs_has_no_labels(scores):
    with Segmenter(backend="fake", scores=scores) as segmenter:
        ids = segmenter.infer_batch(np.zeros((0, 64, 96, 3), np.uint8))
        assert (ids.shape, ids.dtype) == ((0, 64, 96), np.uint8)
        assert segmenter.scores is None


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (
            np.zeros((64, 96, 3), np.uint8),
            "got (64, 96, 3) uint8: a batch of one frame is frame[np.newaxis]",
        ),
        (np.zeros((64, 96), np.uint8), "got (64, 96) uint8"),
        (np.zeros((1, 64, 96, 4), np.uint8), "got (1, 64, 96, 4) uint8"),
        (np.zeros((1, 0, 96, 3), np.uint8), "got (1, 0, 96, 3) uint8"),
        (np.zeros((), np.uint8), "got () uint8"),
        (
            np.zeros((1, 3, 64, 96), np.uint8),
            "got (1, 3, 64, 96) uint8: put the channels last with .transpose(0, 2, 3, 1)",
        ),
        (
            np.zeros((1, 64, 96, 3), np.float32),
            "got (1, 64, 96, 3) float32: scale it to 0..255 and convert with .astype(np.uint8)",
        ),
    ],
)
def test_other_arrays_are_no_batch_of_inputs(batch, message):
    with pytest.raises(ValueError) as caught:
        Segmenter(backend="fake").infer_batch(batch)
    assert str(caught.value) == f"expected a (N, h, w, 3) uint8 BGR batch, {message}"


@pytest.mark.parametrize(
    ("batch", "got"),
    [
        ([plain(0)], "list: numpy.stack makes one of frames of one size"),
        ((plain(0), plain(0)), "tuple: numpy.stack makes one of frames of one size"),
        (None, "None"),
        ("a.jpg", "str"),
    ],
)
def test_what_is_no_array_is_no_batch_of_inputs(batch, got):
    with pytest.raises(TypeError) as caught:
        Segmenter(backend="fake").infer_batch(batch)
    assert str(caught.value) == (
        f"expected a (N, h, w, 3) uint8 BGR batch, as a NumPy array, got {got}"
    )
