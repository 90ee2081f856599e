from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.geometry import preprocess
from roadseg.core.types import Image
from roadseg.road import Doubt, Trust, doubt_maps, picture_doubt
from roadseg.weights import load_manifest

Score = Callable[[Image], np.ndarray]


def noisy(image_bgr: Image, rng: np.random.Generator) -> Image:
    return np.clip(image_bgr + rng.normal(0, 97, image_bgr.shape), 0, 255).astype(np.uint8)


def blurred(image_bgr: Image, rng: np.random.Generator) -> Image:
    return cv2.GaussianBlur(image_bgr, (0, 0), image_bgr.shape[0] / 50)


def dark(image_bgr: Image, rng: np.random.Generator) -> Image:
    night = (image_bgr / 255.0) ** 1.5 * 20 + rng.normal(0, 6, image_bgr.shape)
    return np.clip(night, 0, 255).astype(np.uint8)


def foggy(image_bgr: Image, rng: np.random.Generator) -> Image:
    return (image_bgr * 0.15 + 205 * 0.85).astype(np.uint8)


def shaken(image_bgr: Image, rng: np.random.Generator) -> Image:
    trail = np.zeros((41, 41), np.uint8)
    angle = rng.uniform(0, np.pi)
    reach = 20 * np.array([np.cos(angle), np.sin(angle)])
    first, last = (np.round(20 + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(trail, first, last, 1)
    return cv2.filter2D(image_bgr, -1, trail / trail.sum())


def covered(image_bgr: Image, rng: np.random.Generator) -> Image:
    grey = rng.normal(rng.uniform(20, 120), 4, image_bgr.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


CORRUPTIONS = (noisy, blurred, dark, foggy, shaken, covered)


@pytest.fixture(scope="module")
def score() -> Iterator[Score]:
    from roadseg.loading.choice import choose

    backend = choose("segnet-lite", "openvino", threads=1).open((352, 480), scores=True)
    yield lambda image_bgr: backend.infer_scores(preprocess(image_bgr, (352, 480))[0][None])[0]
    backend.close()


@pytest.mark.parametrize("shape", [(2, 1, 1), (11, 1, 5), (3, 7, 1), (37, 9, 13)])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_margin_and_entropy_are_those_of_the_softmax(
    shape: tuple[int, int, int], temperature: float
) -> None:
    scores = np.random.default_rng(0).normal(0, 4, shape).astype(np.float32)
    maps = doubt_maps(scores, temperature)
    weight = np.exp(scores.astype(np.float64) / temperature)
    probability = weight / weight.sum(axis=0)
    ranked = np.sort(probability, axis=0)
    entropy = -(probability * np.log(probability)).sum(axis=0) / np.log(shape[0])
    np.testing.assert_allclose(maps.margin, ranked[-1] - ranked[-2], atol=1e-5)
    np.testing.assert_allclose(maps.entropy, entropy, atol=1e-5)


def test_scores_far_apart_are_sure() -> None:
    scores = np.zeros((11, 4, 4), np.float32)
    scores[3] = 1e6
    maps = doubt_maps(scores)
    assert (maps.margin == 1).all()
    assert (maps.entropy == 0).all()


def test_the_number_of_a_picture_is_near_the_mean_of_its_map() -> None:
    rng = np.random.default_rng(0)
    scores = cv2.GaussianBlur(
        rng.normal(0, 30, (96, 128, 11)).astype(np.float32), (0, 0), 3
    ).transpose(2, 0, 1)
    doubt = picture_doubt(scores)
    maps = doubt_maps(scores)
    assert doubt.entropy == pytest.approx(maps.entropy.mean(), abs=0.01)
    assert doubt.margin == pytest.approx(maps.margin.mean(), abs=0.01)


@pytest.mark.parametrize("shape", [(11, 1, 1), (11, 1, 9), (11, 2, 2)])
def test_pictures_of_a_pixel(shape: tuple[int, int, int]) -> None:
    assert picture_doubt(np.zeros(shape, np.float32)).entropy == pytest.approx(1)


def test_scores_of_another_shape_are_refused() -> None:
    for shape in [(1, 4, 4), (4, 4), (11, 0, 4)]:
        with pytest.raises(ValueError, match="expected .classes, h, w. scores"):
            doubt_maps(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="temperature above 0"):
        doubt_maps(np.zeros((2, 1, 1), np.float32), 0.0)


def test_limits_need_frames_that_can_be_told_apart() -> None:
    sure, torn = Doubt(0.05, 0.9, 0.3), Doubt(0.4, 0.5, 0.3)
    with pytest.raises(UsageError, match="clean frames and corrupted ones"):
        Trust.fitted([], [torn])
    with pytest.raises(UsageError, match="corrupt them more"):
        Trust.fitted([sure], [sure])
    fitted = Trust.fitted([sure] * 9, [torn] * 9)
    assert not fitted.is_doubtful(sure)
    assert fitted.is_doubtful(torn)


def test_a_covered_lens_is_doubtful_though_the_network_is_sure() -> None:
    assert Trust().is_doubtful(Doubt(entropy=0.02, margin=0.98, largest_share=0.99))


def test_corrupted_frames_are_flagged_and_clean_ones_are_not(
    score: Score, camvid_dir: Path
) -> None:
    """Each sixth of CamVid's validation frames; `benchmarks/road.py` takes all."""
    rng = np.random.default_rng(0)
    paths = sorted((camvid_dir / "val").glob("*.png"))[::6]
    frames = [cv2.imread(str(path)) for path in paths]
    temperature = load_manifest()["segnet-lite"].temperature
    clean = [Trust().is_doubtful(picture_doubt(score(frame), temperature)) for frame in frames]
    assert np.mean(clean) <= 0.05
    corrupted = [
        Trust().is_doubtful(picture_doubt(score(corrupt(frame, rng)), temperature))
        for frame in frames[::3]
        for corrupt in CORRUPTIONS
    ]
    assert np.mean(corrupted) >= 0.9


def test_labels_that_are_at_hand_change_nothing() -> None:
    scores = np.random.default_rng(3).normal(0, 3, (11, 37, 50)).astype(np.float32)
    labels = scores.argmax(axis=0).astype(np.uint8)
    assert picture_doubt(scores, labels=labels) == picture_doubt(scores)
    with pytest.raises(ValueError, match="expected labels of"):
        picture_doubt(scores, labels=labels[1:])
