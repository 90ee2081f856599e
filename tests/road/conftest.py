"""A drive whose camera and street are known, and label maps of every shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from roadseg.core.labels import ClassSet
from roadseg.core.types import Labels
from roadseg.road import Vocabulary

SIZES_HW = [(1, 1), (1, 7), (9, 1), (5, 3), (48, 64), (97, 131)]
"""Odd ones, one pixel wide or high, and plain ones."""

FARM = ClassSet("the farm", ("track", "field", "sky"), ((90, 60, 30), (60, 140, 40), (1, 2, 3)))


@pytest.fixture
def words() -> Vocabulary:
    return Vocabulary()


@pytest.fixture
def random_labels() -> Callable[[tuple[int, int]], Labels]:
    """Labels of any size, patches as well as specks, with some void."""

    def make(size_hw: tuple[int, int], seed: int = 0) -> Labels:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 12, size_hw, dtype=np.uint8)
        labels[size_hw[0] // 2 :][rng.random((size_hw[0] - size_hw[0] // 2, size_hw[1])) < 0.7] = 3
        return labels

    return make
