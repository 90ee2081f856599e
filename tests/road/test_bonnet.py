from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from roadseg.core.types import Image
from roadseg.road import find_bonnet
from roadseg.road.bonnet import LEAST_FRAMES
from tests.support import ROOT


@pytest.fixture(scope="module")
def drive() -> list[Image]:
    """Thirty frames of the sample, a third of a second apart, at half size."""
    clip = ROOT / "samples" / "drive.mp4"
    with av.open(str(clip)) as container:
        frames = [f.to_ndarray(format="bgr24") for f in container.decode(video=0)]
    return [cv2.resize(frame, (240, 180), interpolation=cv2.INTER_AREA) for frame in frames[::5]]


def with_bonnet(frames: list[Image], height: float = 0.2) -> tuple[list[Image], np.ndarray]:
    """A bonnet that mirrors a little of the sky, with sensor noise, and where it is."""
    rng = np.random.default_rng(0)
    rows, columns = frames[0].shape[:2]
    x = np.linspace(-1, 1, columns)
    top = rows * (1 - height + 0.12 * x**2)
    bonnet = np.arange(rows)[:, None] >= top[None, :]
    shade = (30 + 25 * (np.arange(rows)[:, None] - top[None, :]) / rows)[..., None]
    painted = []
    for frame in frames:
        mirrored = frame[::-1] * 0.06 + shade + rng.normal(0, 2, frame.shape)
        picture = np.where(bonnet[..., None], np.clip(mirrored, 0, 255), frame)
        painted.append(picture.astype(np.uint8))
    return painted, bonnet


@pytest.mark.parametrize("height", [0.15, 0.25, 0.35])
def test_the_bonnet_is_found(drive: list[Image], height: float) -> None:
    frames, bonnet = with_bonnet(drive, height)
    mask = find_bonnet(frames)
    assert mask is not None
    found = mask.counts(bonnet.shape) == 0
    assert (found & bonnet).sum() / (found | bonnet).sum() > 0.9
    assert mask.note((180, 240)) is None


def test_a_clip_without_one_has_none(drive: list[Image]) -> None:
    assert find_bonnet(drive) is None


def test_while_the_car_stands_nothing_can_be_told(drive: list[Image]) -> None:
    frames, _ = with_bonnet([drive[0]] * 30)
    assert find_bonnet(frames) is None


def test_few_frames_tell_nothing(drive: list[Image]) -> None:
    frames, _ = with_bonnet(drive[: LEAST_FRAMES - 1])
    assert find_bonnet(frames) is None
    assert find_bonnet([]) is None


def test_frames_of_two_sizes_are_refused(drive: list[Image]) -> None:
    with pytest.raises(ValueError, match="expected frames of one size"):
        find_bonnet([drive[0], drive[1][:100]])
