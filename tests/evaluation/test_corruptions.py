"""Fifteen kinds of corruption: stronger ones lose more, and labels stay with their pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from roadseg.core.errors import UsageError
from roadseg.core.types import Image, Labels
from roadseg.evaluation.corruptions.blur import along_line
from roadseg.evaluation.corruptions.kinds import KINDS, check_kinds, check_severities, corrupt
from roadseg.evaluation.corruptions.weather import plasma

VOID = 11


@pytest.fixture(scope="module")
def street() -> Image:
    """A picture with edges, texture and large areas, 120x160."""
    rng = np.random.default_rng(0)
    image = np.full((120, 160, 3), (180, 140, 90), np.uint8)
    image[70:] = (70, 72, 75)
    for _ in range(30):
        x, y = rng.integers(0, 150), rng.integers(20, 100)
        colour = tuple(int(v) for v in rng.integers(0, 256, 3))
        cv2.rectangle(image, (int(x), int(y)), (int(x) + 14, int(y) + 10), colour, -1)
    return image


@pytest.fixture(scope="module")
def ids(street: Image) -> Labels:
    return (street[..., 0] // 24).astype(np.uint8)


def test_there_are_fifteen_kinds_in_four_families() -> None:
    assert len(KINDS) == 15
    assert {kind.family for kind in KINDS.values()} == {"noise", "blur", "weather", "digital"}


@pytest.mark.parametrize("kind", KINDS)
def test_a_severer_corruption_changes_more(kind: str, street: Image, ids: Labels) -> None:
    if kind == "elastic":
        pytest.skip("severities 1 and 2 shake coarsely, 3 to 5 finely: they cannot be ordered")
    before = street.copy()
    changed = []
    for severity in range(1, 6):
        lost = []
        for seed in range(6):  # one cloud of fog may lie lighter than another
            corrupted, labels = corrupt(street, ids, kind, severity, seed, VOID)
            assert corrupted.shape == street.shape
            assert corrupted.dtype == np.uint8
            assert labels is ids
            lost.append(np.abs(corrupted.astype(int) - street).mean())
        changed.append(np.mean(lost))
    assert changed[0] > 0.5
    assert changed[-1] > changed[0]
    np.testing.assert_array_equal(street, before)


@pytest.mark.parametrize("kind", KINDS)
def test_the_seed_alone_decides(kind: str, street: Image, ids: Labels) -> None:
    first, again, other = (corrupt(street, ids, kind, 3, seed, VOID)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    without_chance = {"defocus-blur", "zoom-blur", "brightness", "contrast", "pixelate", "jpeg"}
    assert np.array_equal(first, other) == (kind in without_chance)


@pytest.mark.parametrize("severity", range(1, 6))
def test_labels_move_with_their_pixels(severity: int) -> None:
    # The label is the picture's level: wherever rubber takes a pixel, they must agree.
    ids = np.repeat(np.arange(8, dtype=np.uint8), 60)[None].repeat(360, axis=0)
    image = (ids[..., None] * 30).repeat(3, axis=2)
    warped, moved = corrupt(image, ids, "elastic", severity, 5, VOID)
    inside = moved != VOID
    assert 0.5 < inside.mean() < 1
    error = np.abs(warped[..., 0].astype(int) - moved.astype(int) * 30)[inside]
    # Half a step, of bilinear pixels between two stripes; a few straddle three.
    assert (error <= 16).mean() > 0.999
    assert (moved != ids)[inside].mean() > 0.001


def test_noise_is_as_strong_as_published() -> None:
    grey = np.full((200, 200, 3), 128, np.uint8)
    ids = np.zeros((200, 200), np.uint8)
    noisy = corrupt(grey, ids, "gaussian-noise", 1, 0, VOID)[0].astype(float)
    assert noisy.std() == pytest.approx(0.08 * 255, rel=0.03)
    lost = corrupt(grey, ids, "impulse-noise", 4, 0, VOID)[0]
    assert (lost == 0).mean() == pytest.approx(0.085, rel=0.1)
    assert (lost == 255).mean() == pytest.approx(0.085, rel=0.1)
    shot = corrupt(grey, ids, "shot-noise", 2, 0, VOID)[0].astype(float)
    # Poisson: the variance is the mean.
    assert shot.std() == pytest.approx(255 * (128 / 255 / 25) ** 0.5, rel=0.03)


def test_contrast_keeps_the_mean_and_a_tenth_of_the_rest(street: Image, ids: Labels) -> None:
    flat = corrupt(street, ids, "contrast", 4, 0, VOID)[0].astype(float)
    np.testing.assert_allclose(flat.mean(axis=(0, 1)), street.mean(axis=(0, 1)), atol=0.6)
    np.testing.assert_allclose(flat.std(axis=(0, 1)), 0.1 * street.std(axis=(0, 1)), rtol=0.05)


def test_a_smear_is_as_long_as_asked_and_loses_no_light() -> None:
    for angle in (0, 30, 90):
        kernel = along_line(10, 3, angle)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        y, x = np.mgrid[-10:11, -10:11]
        middle = np.array([(kernel * x).sum(), (kernel * y).sum()])
        # Half a Gaussian of sigma 3 is sqrt(2 / pi) sigma from its beginning.
        assert np.hypot(*middle) == pytest.approx(2.4, abs=0.5)
        assert np.degrees(np.arctan2(middle[1], middle[0])) == pytest.approx(angle, abs=3)


@pytest.mark.parametrize("size_hw", [(1, 1), (7, 200), (360, 480)])
def test_swirls_fill_zero_to_one_at_any_size(size_hw: tuple[int, int]) -> None:
    swirls = plasma(size_hw, 2.0, np.random.default_rng(0))
    assert swirls.shape == size_hw
    assert swirls.min() == 0
    assert swirls.max() == (1 if swirls.size > 1 else 0)


@pytest.mark.parametrize("kind", KINDS)
def test_any_size_is_taken(kind: str) -> None:
    image, ids = np.full((33, 47, 3), 90, np.uint8), np.zeros((33, 47), np.uint8)
    corrupted, labels = corrupt(image, ids, kind, 5, 0, VOID)
    assert (corrupted.shape, labels.shape) == (image.shape, ids.shape)


def test_kinds_and_severities_that_do_not_exist() -> None:
    assert check_kinds(["jpeg", "fog", "fog"]) == ("fog", "jpeg")
    assert check_kinds([]) == tuple(KINDS)
    assert check_severities([5, 2, 5]) == (2, 5)
    assert check_severities([]) == (1, 3, 5)
    with pytest.raises(UsageError, match="unknown corruption 'foggy'") as caught:
        check_kinds(["foggy"])
    assert 'use kind="fog"' in str(caught.value)
    with pytest.raises(UsageError, match="no severity 6"):
        check_severities([1, 6])
