"""A few pictures, and a clip of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.support.cli_run import FRAMES, SIZE_HW, run


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(FRAMES):
        image = np.full((*SIZE_HW, 3), index * 30, np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), image)
    return folder


@pytest.fixture
def clip(images, tmp_path):
    """The images as a video, which `roadseg run` itself makes."""
    path = tmp_path / "clip.mp4"
    assert run(images, "--output", path, "--alpha", 0, "--no-hud", "--no-legend") == 0
    return path
