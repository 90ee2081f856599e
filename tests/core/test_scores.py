from __future__ import annotations

import doctest

import numpy as np
import pytest

from roadseg.core import scores
from roadseg.core.scores import best_classes, best_of_each


def test_examples_in_docstrings() -> None:
    assert doctest.testmod(scores, extraglobs={"np": np}).failed == 0


@pytest.mark.parametrize("shape", [(2, 1, 1), (11, 7, 5), (37, 32, 64), (254, 3, 4)])
def test_the_labels_are_those_of_argmax_ties_too(shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(shape[0])
    for values in (rng.normal(0, 5, shape), rng.integers(-2, 2, shape)):
        some = values.astype(np.float32)
        before = some.copy()
        np.testing.assert_array_equal(best_classes(some), some.argmax(axis=0))
        np.testing.assert_array_equal(some, before)
    strided = rng.normal(0, 5, (shape[0], shape[1] * 2, shape[2] * 2)).astype(np.float32)[
        :, ::2, ::2
    ]
    np.testing.assert_array_equal(best_classes(strided), strided.argmax(axis=0))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_each_frame_has_its_own(count: int) -> None:
    scores = np.random.default_rng(0).normal(size=(count, 11, 5, 7)).astype(np.float32)
    ids = best_of_each(scores)
    assert ids.dtype == np.uint8
    np.testing.assert_array_equal(ids, scores.argmax(axis=1))
