"""The clip that ships in samples/ is what the renderer draws today."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from roadseg.core.labels import NUM_CLASSES, VOID_ID
from roadseg.synth import Drive
from tests.support import ROOT

_SAMPLES = ROOT / "samples"
_SEED = 53


@pytest.fixture(scope="module")
def labels() -> np.ndarray:
    with np.load(_SAMPLES / "drive_labels.npz") as file:
        return file["labels"]


@pytest.fixture(scope="module")
def frames() -> list[np.ndarray]:
    with av.open(str(_SAMPLES / "drive.mp4")) as container:
        assert container.streams.video[0].average_rate == 15
        return [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]


def test_every_frame_has_its_labels(frames: list[np.ndarray], labels: np.ndarray) -> None:
    assert len(frames) == 150
    assert labels.shape == (150, 360, 480)
    assert labels.dtype == np.uint8
    assert set(range(NUM_CLASSES)) <= set(np.unique(labels)) <= set(range(VOID_ID + 1))


def test_rendering_again_gives_the_same(frames: list[np.ndarray], labels: np.ndarray) -> None:
    drive = Drive(_SEED)
    for index in (0, 61, 149):
        image, drawn = drive.render(index)
        differing = np.mean(drawn != labels[index])
        # OpenCV 4 rasterises a few edge pixels differently from OpenCV 5.
        assert differing == 0 if cv2.__version__.startswith("5.") else differing < 5e-4
        error = np.mean((image.astype(float) - frames[index].astype(float)) ** 2)
        assert 10 * np.log10(255**2 / error) > 30


def test_the_files_are_small() -> None:
    assert (_SAMPLES / "drive.mp4").stat().st_size < 3_000_000
    assert (_SAMPLES / "drive_labels.npz").stat().st_size < 1_000_000
