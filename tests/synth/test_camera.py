"""The camera against hand-worked projections, and its own inverse."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.synth.camera import NEAR_M, Camera


def make_camera(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> Camera:
    return Camera(np.array([1.0, 1.5, 10.0]), yaw, pitch, roll, 100.0, (81, 121), 40.0)


def test_project_matches_hand_worked_pixels() -> None:
    points = np.array([[1.0, 1.5, 20.0], [2.0, 1.5, 20.0], [1.0, 0.5, 20.0]])
    pixels, depth = make_camera().project(points)
    # 10 m ahead with f = 100 px: one metre is 10 px; the axis meets pixel (60, 40).
    assert pixels == pytest.approx(np.array([[60, 40], [70, 40], [60, 50]]))
    assert depth == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("turn", "point", "side"),
    [
        ({"yaw": 0.1}, (1.0, 1.5, 20.0), (-1, 0)),  # looking right moves things left
        ({"pitch": 0.1}, (1.0, 1.5, 20.0), (0, 1)),  # looking up moves things down
    ],
)
def test_angles_turn_the_right_way(
    turn: dict[str, float], point: tuple[float, ...], side: tuple[int, int]
) -> None:
    pixels, _ = make_camera(**turn).project(np.array([point]))
    moved = pixels[0] - (60, 40)
    assert tuple(np.sign(np.round(moved, 6)).astype(int)) == side


def test_rays_go_through_the_points_that_project_there() -> None:
    camera = make_camera(0.2, -0.05, 0.03)
    rays = camera.rays(0)
    assert rays.shape == (81, 121, 3)
    points = camera.position + 7.0 * rays[[3, 50, 80], [5, 60, 119]]
    pixels, depth = camera.project(points)
    assert pixels == pytest.approx(np.array([[5, 3], [60, 50], [119, 80]]))
    assert depth == pytest.approx(7.0)


def test_polygons_are_cut_at_the_near_plane() -> None:
    camera = make_camera()
    behind_and_ahead = np.array([[0.0, 0, 5], [0, 0, 30], [2, 0, 30], [2, 0, 5]], float)
    cut = camera.project_polygon(behind_and_ahead)
    assert len(cut) == 4
    # The cut edge lies 1.5 m below the camera at the near plane.
    assert cut[:, 1].max() == pytest.approx(40 + 100 * 1.5 / NEAR_M)
    assert len(camera.project_polygon(behind_and_ahead - (0, 0, 30))) == 0
