"""Frames, sizes, models and backends that are refused, with what to do instead."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.loading.choice import choose
from roadseg.loading.segmenter import Segmenter
from tests.support.frames import plain


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            np.zeros((4, 5), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5) uint8: "
            "convert grey pictures with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)",
        ),
        (
            np.zeros((4, 5, 1), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5, 1) uint8: "
            "convert grey pictures with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)",
        ),
        (
            np.zeros((4, 5, 4), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5, 4) uint8: "
            "convert BGRA pictures with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)",
        ),
        (
            np.zeros((4, 5, 3), np.float32),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5, 3) float32: "
            "scale it to 0..255 and convert with .astype(np.uint8)",
        ),
        (
            np.zeros((0, 5, 3), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (0, 5, 3) uint8",
        ),
        (
            np.zeros((2, 4, 5, 3), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (2, 4, 5, 3) uint8",
        ),
        (
            np.zeros((3, 40, 50), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (3, 40, 50) uint8: "
            "put the channels last with .transpose(1, 2, 0)",
        ),
    ],
)
def test_other_arrays_are_refused(frame, message):
    segmenter = Segmenter(backend="fake")
    for refuse in (
        segmenter,
        segmenter.preprocess,
        segmenter.infer,
        segmenter.submit,
        lambda frame: segmenter.segment_batch([frame]),
    ):
        with pytest.raises(ValueError) as caught:
            refuse(frame)
        assert str(caught.value) == message


class Picture:
    """As PIL has it."""

    def __array__(self):
        raise AssertionError("it is not converted behind the user's back")


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (None, "None: cv2.imread gives None where it cannot read a file"),
        ("a.jpg", "str: read it with cv2.imread('a.jpg')"),
        (Path("a.jpg"), f"{type(Path()).__name__}: read it with cv2.imread('a.jpg')"),
        ([[[0, 0, 0]]], "list: for several frames there is segment_batch; "),
        (Picture(), "Picture: make it a NumPy array with numpy.asarray, with its channels as "),
        (7, "int"),
    ],
)
def test_what_is_no_array_is_refused(frame, got):
    segmenter = Segmenter(backend="fake")
    for refuse in (
        segmenter,
        segmenter.preprocess,
        segmenter.infer,
        segmenter.submit,
        lambda frame: segmenter.segment_batch([frame]),
    ):
        with pytest.raises(TypeError) as caught:
            refuse(frame)
        expected = f"expected a (H, W, 3) uint8 BGR frame, as a NumPy array, got {got}"
        assert str(caught.value).startswith(expected)


@pytest.mark.parametrize("size_hw", ["352x480", (352,), (352.5, 480), 352, (1, 2, 3), ("1", "2")])
def test_sizes_of_another_kind_are_refused(size_hw):
    with pytest.raises(TypeError) as caught:
        Segmenter(backend="fake", size_hw=size_hw)
    assert str(caught.value) == (
        f"size_hw is (height, width) in pixels, such as (352, 480), got {size_hw!r}"
    )


def test_models_of_another_kind_are_refused():
    with pytest.raises(TypeError, match='^model is a name such as "segnet-lite" or a path, got '):
        Segmenter(None)


def test_an_error_leaves_it_free():
    segmenter = Segmenter(backend="fake")
    with pytest.raises(ValueError):
        segmenter(np.zeros((3, 3), np.uint8))
    with pytest.raises(RuntimeError, match="^no frame is in flight"):
        segmenter.collect()
    assert segmenter(plain(0)).ids.shape == (32, 32)


@pytest.mark.parametrize(
    ("size_hw", "nearest"),
    [
        ((350, 480), "size_hw=(320, 480) or size_hw=(352, 480)"),
        ((352, 481), "size_hw=(352, 480) or size_hw=(352, 512)"),
        ((0, 0), "size_hw=(32, 32)"),
        ((-32, 480), "size_hw=(32, 480)"),
        ((1, 1), "size_hw=(32, 32)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(size_hw, nearest):
    with pytest.raises(UsageError) as caught:
        Segmenter(backend="fake", size_hw=size_hw)
    assert str(caught.value) == (
        f"size {size_hw[0]}x{size_hw[1]} does not fit the network, whose sides are multiples "
        f"of 32: use {nearest}"
    )


def test_threads_below_one_are_refused():
    with pytest.raises(UsageError, match="^cannot use 0 threads: use threads=1 or more$"):
        Segmenter(backend="fake", threads=0)


@pytest.mark.parametrize("name", ["threads", "keep"])
@pytest.mark.parametrize("value", ["2", 2.0, (2,)])
def test_counts_of_another_kind_are_refused(name, value):
    with pytest.raises(TypeError) as caught:
        Segmenter(backend="fake", **{name: value})
    assert str(caught.value) == f"{name} is a whole number such as 2, got {value!r}"


@pytest.mark.parametrize("keep", [0, -1])
def test_the_network_in_use_is_kept(keep):
    for refuse in (
        lambda: Segmenter(backend="fake", keep=keep),
        lambda: Segmenter.of(choose("segnet-lite", "fake"), keep=keep),
    ):
        with pytest.raises(UsageError) as caught:
            refuse()
        assert str(caught.value) == f"cannot keep {keep} compiled networks: use keep=1 or more"
    with Segmenter(backend="fake", keep=np.int64(1), threads=np.int64(2)) as segmenter:
        for hw in ((32, 32), (64, 32)):
            assert segmenter(plain(0, hw)).ids.shape == hw


def test_unknown_backends_are_refused_at_once():
    with pytest.raises(UsageError, match=r"^unknown backend 'cuda': use backend=\"auto\"\|"):
        Segmenter(backend="cuda")


def test_unknown_models_are_refused_at_once():
    with pytest.raises(UsageError, match="^unknown model 'segnet-huge'"):
        Segmenter("segnet-huge")
