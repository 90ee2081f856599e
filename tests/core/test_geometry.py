"""Frames to the network's input and labels back: `preprocess` and `postprocess` are inverses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from roadseg.core.geometry import Geometry, network_size, postprocess, preprocess, to_source
from roadseg.core.types import Labels

SIZES_HW = [(1, 1), (1, 7), (5, 1), (37, 53), (360, 480), (540, 960), (719, 1281), (4320, 7680)]


def as_image(labels: Labels) -> np.ndarray:
    """A picture whose channels are the labels, so that labels survive any resizing by copying."""
    return np.repeat(labels[..., None], 3, axis=2)


@pytest.mark.parametrize(
    ("source_hw", "expected_hw"),
    [
        ((360, 480), (352, 480)),
        ((540, 960), (320, 576)),
        ((1080, 1920), (320, 576)),
        ((4320, 7680), (320, 576)),
        ((1920, 1080), (544, 320)),
        ((480, 480), (416, 416)),
    ],
)
def test_network_size_follows_the_aspect_ratio(
    source_hw: tuple[int, int], expected_hw: tuple[int, int]
) -> None:
    assert network_size(source_hw) == expected_hw


@pytest.mark.parametrize("source_hw", [*SIZES_HW, (1, 10_000), (10_000, 1), (720, 1000)])
@pytest.mark.parametrize("multiple", [16, 32, 64])
def test_network_size_is_a_multiple_near_the_budget(
    source_hw: tuple[int, int], multiple: int
) -> None:
    height, width = network_size(source_hw, multiple=multiple)
    assert height % multiple == 0
    assert width % multiple == 0
    assert 0.7 < height * width / (352 * 480) < 1.3


@pytest.mark.parametrize("source_hw", SIZES_HW)
def test_preprocess_gives_the_network_its_size_for_any_frame(source_hw: tuple[int, int]) -> None:
    image_bgr = np.full((*source_hw, 3), (1, 2, 3), np.uint8)
    network_bgr, geometry = preprocess(image_bgr, (64, 96))
    assert geometry == Geometry(source_hw=source_hw, network_hw=(64, 96))
    assert network_bgr.dtype == np.uint8
    np.testing.assert_array_equal(network_bgr, np.full((64, 96, 3), (1, 2, 3)))


def test_preprocess_keeps_the_order_of_channels_rows_and_columns() -> None:
    image_bgr = np.zeros((4, 4, 3), np.uint8)
    image_bgr[:2, 2:, 0] = 255  # top right is blue
    network_bgr, _ = preprocess(image_bgr, (8, 8))
    assert network_bgr[0, 7].tolist() == [255, 0, 0]
    assert network_bgr[7, 7].tolist() == [0, 0, 0]
    assert network_bgr[0, 0].tolist() == [0, 0, 0]


def test_preprocess_averages_when_it_shrinks_a_lot() -> None:
    checkers = np.indices((64, 64)).sum(axis=0) % 2 * 200
    network_bgr, _ = preprocess(as_image(checkers.astype(np.uint8)), (16, 16))
    np.testing.assert_array_equal(network_bgr, np.full((16, 16, 3), 100))


@pytest.mark.parametrize("source_hw", [(720, 1280), (1080, 1920), (2160, 3840), (731, 1283)])
def test_shrinking_by_halves_looks_as_shrinking_at_once(source_hw: tuple[int, int]) -> None:
    """Stripes finer than the network's pixels become grey, and areas stay where they are."""
    height, width = source_hw
    fine = np.zeros((*source_hw, 3), np.uint8)
    fine[:, ::2] = 255
    network_bgr, _ = preprocess(fine, (320, 576))
    assert np.abs(network_bgr.astype(int) - 128).max() <= (2 if width % 2 == 0 else 40)
    coarse = np.zeros((*source_hw, 3), np.uint8)
    coarse[height // 3 :, width // 4 :] = (200, 100, 50)
    network_bgr, _ = preprocess(coarse, (320, 576))
    expected = cv2.resize(coarse, (576, 320), interpolation=cv2.INTER_AREA)
    difference = np.abs(network_bgr.astype(int) - expected)
    assert difference.mean() < 0.3
    assert (difference.max(axis=2) > 8).sum() <= 3 * (320 + 576), "edges alone"


@pytest.mark.parametrize("source_hw", [(64, 96), (37, 53), (700, 1000)])
def test_preprocess_writes_into_the_given_buffer(source_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image_bgr = rng.integers(0, 256, (*source_hw, 3), dtype=np.uint8)
    before = image_bgr.copy()
    batch_bgr = np.zeros((1, 64, 96, 3), np.uint8)
    network_bgr, _ = preprocess(image_bgr, (64, 96), out=batch_bgr[0])
    assert np.shares_memory(network_bgr, batch_bgr)
    np.testing.assert_array_equal(batch_bgr[0], preprocess(image_bgr, (64, 96))[0])
    np.testing.assert_array_equal(image_bgr, before)


def test_preprocess_hands_a_frame_of_the_right_size_through() -> None:
    image_bgr = np.zeros((64, 96, 3), np.uint8)
    assert preprocess(image_bgr, (64, 96))[0] is image_bgr


@pytest.mark.parametrize(
    ("shape", "dtype", "got"),
    [
        ((4, 6), np.uint8, r"\(4, 6\) uint8"),
        ((4, 6, 4), np.uint8, r"\(4, 6, 4\) uint8"),
        ((4, 6, 3), np.float32, r"\(4, 6, 3\) float32"),
    ],
)
def test_preprocess_refuses_other_arrays(
    shape: tuple[int, ...], dtype: type[np.generic], got: str
) -> None:
    with pytest.raises(ValueError, match=rf"^expected a \(H, W, 3\) uint8 BGR frame, got {got}$"):
        preprocess(np.zeros(shape, dtype), (32, 32))


@pytest.mark.parametrize("source_hw", SIZES_HW)
@pytest.mark.parametrize("network_hw", [(32, 32), (352, 480), (320, 576)])
def test_labels_come_back_at_the_size_of_the_frame(
    source_hw: tuple[int, int], network_hw: tuple[int, int]
) -> None:
    geometry = Geometry(source_hw=source_hw, network_hw=network_hw)
    ids = postprocess(np.full(network_hw, 7, np.uint8), geometry).ids
    assert ids.shape == source_hw
    assert ids.dtype == np.uint8
    assert (ids == 7).all()


@pytest.mark.parametrize("source_hw", [(1, 1), (37, 53), (64, 95), (65, 96), (200, 301)])
def test_to_source_takes_the_label_under_each_pixels_centre(source_hw: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    network_ids = rng.integers(0, 11, (64, 96), dtype=np.uint8)
    height, width = source_hw
    # In integers: the label at floor((y + 1/2) * 64 / height); where the centre falls on the
    # border of two labels, either of them.
    rows, row_ties = np.divmod((2 * np.arange(height) + 1) * 64, 2 * height)
    columns, column_ties = np.divmod((2 * np.arange(width) + 1) * 96, 2 * width)
    ids = to_source(network_ids, Geometry(source_hw=source_hw, network_hw=(64, 96)))
    allowed = [
        ids == network_ids[(rows - up)[:, None], (columns - left)[None]]
        for up in (np.int64(0), (row_ties == 0).astype(int))
        for left in (np.int64(0), (column_ties == 0).astype(int))
    ]
    assert np.logical_or.reduce(allowed).all()


@pytest.mark.parametrize("factor", [1, 2, 3, 5])
def test_round_trip_is_exact_where_frames_are_a_multiple_of_the_network(factor: int) -> None:
    rng = np.random.default_rng(2)
    network_ids = rng.integers(0, 11, (32, 64), dtype=np.uint8)
    geometry = Geometry(source_hw=(32 * factor, 64 * factor), network_hw=(32, 64))
    source_ids = to_source(network_ids, geometry)
    network_bgr, back = preprocess(as_image(source_ids), (32, 64))
    assert back == geometry
    np.testing.assert_array_equal(network_bgr[..., 0], network_ids)


@pytest.mark.parametrize("source_hw", [(360, 480), (359, 481), (540, 960), (1080, 1920)])
def test_round_trip_moves_no_edge_by_more_than_a_network_pixel(
    source_hw: tuple[int, int],
) -> None:
    height, width = source_hw
    source_ids = np.zeros(source_hw, np.uint8)
    source_ids[height // 3 :, width // 4 :] = 200
    network_hw = network_size(source_hw)
    network_bgr, geometry = preprocess(as_image(source_ids), network_hw)
    network_ids = (network_bgr[..., 0] >= 100).astype(np.uint8) * 200
    back = postprocess(network_ids, geometry).ids
    reach = max(height / network_hw[0], width / network_hw[1], 1)
    rows = np.flatnonzero((back != source_ids).any(axis=1) & (np.arange(height) < height // 3))
    columns = np.flatnonzero((back != source_ids).any(axis=0) & (np.arange(width) < width // 4))
    assert (height // 3 - rows <= reach).all()
    assert (width // 4 - columns <= reach).all()
    assert (back == source_ids).mean() > 0.99


@pytest.mark.parametrize("flip", [0, 1])
def test_neither_way_prefers_a_side(flip: int) -> None:
    rng = np.random.default_rng(3)
    image_bgr = rng.integers(0, 256, (100, 200, 3), dtype=np.uint8)
    straight, geometry = preprocess(image_bgr, (64, 96))
    mirrored, _ = preprocess(np.ascontiguousarray(np.flip(image_bgr, flip)), (64, 96))
    np.testing.assert_allclose(mirrored.astype(int), np.flip(straight, flip).astype(int), atol=1)
    ids = rng.integers(0, 11, (64, 96), dtype=np.uint8)
    flipped_ids = np.ascontiguousarray(np.flip(ids, flip))
    different = to_source(flipped_ids, geometry) != np.flip(to_source(ids, geometry), flip)
    # Only a pixel centre on the border of two labels may fall to either side.
    assert different.mean() < 0.04


@pytest.mark.parametrize(
    ("shape", "dtype"), [((32, 31), np.uint8), ((32, 32, 1), np.uint8), ((32, 32), np.int64)]
)
def test_postprocess_refuses_labels_of_another_network(
    shape: tuple[int, ...], dtype: type[np.generic]
) -> None:
    geometry = Geometry(source_hw=(10, 10), network_hw=(32, 32))
    with pytest.raises(ValueError) as error:
        postprocess(np.zeros(shape, dtype), geometry)
    assert str(error.value) == (f"expected (32, 32) uint8 labels, got {shape} {np.dtype(dtype)}")
