"""Colour and label come from one mask: half covered is owned."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.synth.camera import Camera
from roadseg.synth.canvas import Canvas, Texture, Veil

_CAMERA = Camera(np.zeros(3), 0.0, 0.0, 0.0, 100.0, (81, 121), 40.0)


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(_CAMERA, Veil((200.0, 200.0, 200.0), 0.0))


def test_blend_mixes_by_coverage_and_owns_from_one_half(canvas: Canvas) -> None:
    canvas.image[:] = 100
    alpha = np.array([[0.0, 0.49, 0.5, 1.0]], np.float32)
    canvas.blend((10, 20), alpha[..., None] * np.float32([10, 20, 30]), alpha, 7)
    assert canvas.image[20, 10:14, 0] == pytest.approx([100, 55.9, 55, 10])
    assert canvas.image[20, 13] == pytest.approx([10, 20, 30])
    assert canvas.labels[20, 10:14].tolist() == [0, 0, 7, 7]
    assert np.count_nonzero(canvas.labels) == 2


def test_blend_is_cut_at_the_border(canvas: Canvas) -> None:
    alpha = np.ones((4, 4), np.float32)
    canvas.blend((-2, -3), alpha[..., None] * np.float32([1, 2, 3]), alpha, 5)
    canvas.blend((119, 79), alpha[..., None] * np.float32([1, 2, 3]), alpha, 6)
    canvas.blend((500, 0), alpha[..., None] * np.float32([1, 2, 3]), alpha, 6)
    assert np.argwhere(canvas.labels == 5).tolist() == [[0, 0], [0, 1]]
    assert np.argwhere(canvas.labels == 6).tolist() == [[79, 119], [79, 120], [80, 119], [80, 120]]


def test_see_through_things_may_own_more_than_they_hide(canvas: Canvas) -> None:
    alpha = np.zeros((1, 2), np.float32)
    cover = np.array([[1.0, 0.0]], np.float32)
    canvas.blend((0, 0), np.zeros((1, 2, 3), np.float32), alpha, 7, cover)
    assert canvas.labels[0, :2].tolist() == [7, 0]


def test_quad_lands_on_its_projected_corners(canvas: Canvas) -> None:
    # 2 m wide and 1 m high, 10 m ahead: 20 x 10 pixels around the axis (60, 40).
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8, :16] = 250  # top left quarter
    origin = np.array([-1.0, 0.5, 10.0])
    canvas.quad(
        origin,
        np.array([2.0, 0, 0]),
        np.array([0, -1.0, 0]),
        Texture(pixels),
        (1.0, 0.5, 0.25),
        3,
    )
    rows, columns = np.nonzero(canvas.labels == 3)
    assert abs(rows.min() - 35) <= 1
    assert abs(rows.max() - 45) <= 1
    assert abs(columns.min() - 50) <= 1
    assert abs(columns.max() - 70) <= 1
    assert canvas.image[37, 54] == pytest.approx([250, 125, 62.5])
    assert canvas.image[37, 66] == pytest.approx([0, 0, 0])
    assert canvas.image[43, 54] == pytest.approx([0, 0, 0])


def test_haze_takes_over_with_distance() -> None:
    veil = Veil((200.0, 180.0, 160.0), 0.01)
    assert veil.amount(0.0) == 0.0
    assert veil.amount(100.0) == pytest.approx(1 - np.exp(-1))
    faded = Canvas(_CAMERA, veil).faded((0.0, 0.0, 0.0), 1e6)
    assert faded == pytest.approx((200, 180, 160))


def test_texture_levels_are_area_averages() -> None:
    pixels = np.zeros((4, 8, 3), np.uint8)
    pixels[:, ::2] = 200
    small, cover = Texture(pixels).level(1, 0)
    assert small.shape == (4, 4, 3)
    assert (small == 100).all()
    assert cover is None
