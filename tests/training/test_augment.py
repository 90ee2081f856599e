"""Crops cut on the host: pixels and labels stay together, and chance is the generator's alone."""

from __future__ import annotations

import dataclasses

import numpy as np

from roadseg.training.augment import augment
from roadseg.training.recipes import load_recipe

LITE = load_recipe("lite")
PLAIN = load_recipe("paper").augmentation


def test_the_plain_crop_of_a_whole_frame_is_the_frame() -> None:
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
    labels = rng.integers(0, 12, (48, 64), dtype=np.uint8)
    crop, ids = augment(image, labels, (48, 64), PLAIN, rng)
    np.testing.assert_array_equal(crop, image)
    np.testing.assert_array_equal(ids, labels)


def test_crops_keep_pixels_and_labels_together() -> None:
    # The label is the frame's grey level: wherever the warp takes a pixel, they must agree.
    labels = np.repeat(np.arange(8, dtype=np.uint8), 12)[None].repeat(64, axis=0)
    image = (labels[..., None] * 30).repeat(3, axis=2)
    settings = dataclasses.replace(LITE.augmentation, colour=0.0, blur_share=0.0, noise_share=0.0)
    rng = np.random.default_rng(2)
    for _ in range(20):
        crop, ids = augment(image, labels, (32, 40), settings, rng)
        assert crop.shape == (32, 40, 3)
        inside = ids != 11
        error = np.abs(crop[..., 0].astype(int) - ids.astype(int) * 30)[inside]
        # Bilinear pixels between two stripes lie up to half a step from the nearest label.
        assert error.max() <= 16


def test_crops_are_drawn_from_the_generator_alone() -> None:
    image = np.random.default_rng(3).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    labels = np.full((48, 64), 2, np.uint8)
    first, second = (
        augment(image, labels, (32, 32), LITE.augmentation, np.random.default_rng(5))
        for _ in range(2)
    )
    np.testing.assert_array_equal(first[0], second[0])
