"""How far errors are from borders, and the boundary score of each class."""

from __future__ import annotations

import numpy as np

from roadseg.evaluation.report.borders import FARTHEST_PX, BorderErrors, border_distance
from roadseg.metrics.boundary import BoundaryF1
from tests.support.report import half


def test_border_errors_by_hand() -> None:
    true = np.array([[0, 0, 0, 0, 1, 1, 11]], np.uint8)
    assert border_distance(true).tolist() == [[4, 3, 2, 1, 1, 2, 3]]
    borders = BorderErrors()
    borders.update(np.array([[1, 0, 0, 1, 1, 0, 5]], np.uint8), true)
    assert borders.pixels[:5].tolist() == [2, 2, 1, 1, 0]
    assert borders.errors[:5].tolist() == [1, 1, 0, 1, 0]
    np.testing.assert_allclose(borders.share_of_errors[:4], [1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(borders.share_of_pixels[:4], [2 / 6, 4 / 6, 5 / 6, 1])


def test_a_frame_without_borders_is_far_from_all() -> None:
    borders = BorderErrors()
    borders.update(np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    assert borders.errors[FARTHEST_PX] == borders.pixels[FARTHEST_PX] == 16
    assert borders.share_of_errors.max() == 0


def test_no_errors_no_share() -> None:
    borders = BorderErrors()
    borders.update(half(0, 1), half(0, 1))
    assert np.isnan(borders.share_of_errors).all()


def test_boundary_f1_by_class_averages_the_images_that_have_it() -> None:
    boundary = BoundaryF1()
    boundary.update(half(0, 1), half(0, 1))
    boundary.update(half(0, 2), half(0, 1))  # building's border is called pole's
    boundary.update(half(0, 3), half(0, 3))
    np.testing.assert_array_equal(boundary.per_class[:4], [1, 0.5, np.nan, 1])
