"""Pictures made to fit a video: even sides, and one size for all."""

from __future__ import annotations

import numpy as np

from roadseg.media.sinks.pixels import even, letterbox
from tests.support.mp4 import grey


def test_even_worked_example() -> None:
    image = np.arange(3, dtype=np.uint8).reshape(1, 3, 1).repeat(3, axis=2)
    padded = even(image)
    assert padded[..., 0].tolist() == [[0, 1, 2, 2], [0, 1, 2, 2]]
    assert even(padded) is padded


def test_letterbox_keeps_the_shape_on_black() -> None:
    fitted = letterbox(grey(200, (10, 10)), (10, 30))
    assert fitted.shape == (10, 30, 3)
    assert (fitted[:, 10:20] == 200).all()
    assert (fitted[:, :10] == 0).all()
    assert (fitted[:, 20:] == 0).all()
    assert letterbox(grey(1, (1, 1000)), (4, 4)).any(axis=2).sum() == 4
    image = grey(1, (4, 4))
    assert letterbox(image, (4, 4)) is image
