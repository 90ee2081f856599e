"""Optical flow between two pictures."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from roadseg.core.flow import LEAST_SIDE, Flow

# In a process of its own: OpenCV ends it where it reads outside of a picture.
NOISE = """
import sys
import numpy as np
from roadseg.core.flow import Flow
flow = Flow()
for height, width in (map(int, size.split("x")) for size in sys.argv[1:]):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        one, other = rng.integers(0, 256, (2, height, width), np.uint8)
        found = flow.between(one, other)
        assert found is None or (found.shape == (height, width, 2) and np.isfinite(found).all())
print("all")
"""


def test_it_finds_how_far_a_picture_was_moved() -> None:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (20, 30)).astype(np.uint8)
    picture = np.kron(coarse, np.ones((8, 8), np.uint8))
    there = Flow().between(picture, np.roll(picture, (2, 3), (0, 1)))
    assert there is not None
    inside = there[24:-24, 24:-24].reshape(-1, 2)
    np.testing.assert_allclose(np.median(inside, axis=0), [3, 2], atol=0.2)


@pytest.mark.parametrize(("side", "there"), [(LEAST_SIDE - 1, False), (LEAST_SIDE, True)])
def test_small_pictures_have_none(side: int, there: bool) -> None:
    for shape in ((side, 96), (96, side)):
        grey = np.zeros(shape, np.uint8)
        assert (Flow().between(grey, grey) is not None) == there


def test_wide_and_tall_pictures_do_not_end_the_process() -> None:
    sizes = ["24x250", "25x120", "31x500", "31x2000", "32x120", "32x2000", "33x500", "2000x32"]
    done = subprocess.run([sys.executable, "-c", NOISE, *sizes], capture_output=True, timeout=300)
    assert (done.returncode, done.stdout) == (0, b"all\n"), done.stderr.decode()[-500:]
