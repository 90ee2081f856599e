"""The read-outs against a street whose geometry is known."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.labels import class_id
from roadseg.core.types import Labels
from roadseg.road import Area, EventWatch, FlatRoad, Vocabulary, free_space
from roadseg.synth import Drive
from roadseg.synth.traffic import Mover
from tests.support import ROOT

_SAMPLES = ROOT / "samples"
_AHEAD_M = 12.0
_STEPS_OUT = range(3, 7)  # frames in which somebody stands ahead


@pytest.fixture(scope="module")
def drive() -> Drive:
    return Drive(53)


@pytest.fixture(scope="module")
def labels() -> Labels:
    with np.load(_SAMPLES / "drive_labels.npz") as file:
        return np.asarray(file["labels"])


def nominal(drive: Drive) -> FlatRoad:
    """What a user would measure: no bounce, no roll, no bend."""
    camera = drive.camera(0.0)
    width = camera.size_hw[1]
    return FlatRoad.of_picture(
        camera.size_hw,
        camera_height_m=float(camera.position[1]),
        horizon_row=camera.centre_y + 0.5,
        fov_deg=2 * np.degrees(np.arctan(width / 2 / camera.focal_px)),
    )


def true_distance_m(drive: Drive, index: int, labels: Labels) -> np.ndarray:
    """(W,) metres ahead of where the camera's ray through each column's first pixel that is no
    road meets the ground; inf where it does not."""
    camera = drive.camera(index / drive.fps)
    blocked = labels != class_id("road")
    found = np.full(labels.shape[1], np.inf)
    rays = camera.rays(0)
    for x in range(labels.shape[1]):
        rows = np.flatnonzero(blocked[:, x])
        if not rows.size or rows[-1] + 1 >= labels.shape[0]:
            continue
        # The pixel's lower edge, half-way to the centre of the next.
        ray = (rays[rows[-1], x] + rays[rows[-1] + 1, x]) / 2
        if ray[1] < -1e-6:
            ahead = np.array([np.sin(camera.yaw), 0.0, np.cos(camera.yaw)])
            found[x] = camera.position[1] / -ray[1] * (ray @ ahead)
    return found


def test_free_space_in_metres_is_the_renderers(drive: Drive, labels: Labels) -> None:
    camera = nominal(drive)
    errors, signed = [], []
    for index in range(0, 150, 10):
        true_m = true_distance_m(drive, index, labels[index])
        read_m = free_space(labels[index], Vocabulary()).metres(camera)
        near = true_m <= 30
        errors.append(np.abs(read_m[near] - true_m[near]) / true_m[near])
        signed.append((read_m[near] - true_m[near]) / true_m[near])
    assert sum(map(len, errors)) > 2000
    assert np.median(np.concatenate(errors)) < 0.05
    assert abs(np.median(np.concatenate(signed))) < 0.03


def test_labels_at_the_networks_size_say_the_same(drive: Drive, labels: Labels) -> None:
    camera = nominal(drive)
    small = np.ascontiguousarray(labels[40][::2, ::2])
    full_m = free_space(labels[40], Vocabulary()).metres(camera)[::2]
    small_m = free_space(small, Vocabulary()).metres(camera)
    near = full_m <= 20
    assert np.median(np.abs(small_m[near] - full_m[near]) / full_m[near]) < 0.03


def test_events_and_distances_of_somebody_who_steps_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A person whom the renderer puts twelve metres ahead, for four frames."""
    small = Drive(53, (180, 240), fps=10.0)

    def movers(time_s: float) -> list[Mover]:
        if round(time_s * small.fps) not in _STEPS_OUT:
            return []
        camera = small.camera(time_s)
        x = float(camera.position[0]) + _AHEAD_M * np.sin(camera.yaw)
        z = float(camera.position[2]) + _AHEAD_M * np.cos(camera.yaw)
        return [Mover("person", z, x - float(small.street.bend(z)), np.pi, 0)]

    monkeypatch.setattr(small.traffic, "movers", movers)
    camera = nominal(small)
    middle = Area("middle", [(0.45, 0), (0.55, 0), (0.55, 1), (0.45, 1)])
    watching = EventWatch(
        [
            "seen: pedestrian in middle > 0.5%",
            "stays: pedestrian in middle > 0.5% for 0.2s",
            "near: distance to pedestrian in middle < 14m",
        ],
        Vocabulary(),
        [middle],
        camera=camera,
    )
    begun: dict[str, float] = {}
    ended = {}
    for index in range(9):
        time_s = index / small.fps
        for event in watching.update(time_s, small.render(index)[1]):
            if event.end_s is None:
                begun[event.rule.name] = time_s
            else:
                ended[event.rule.name] = event
    first, last = (index / small.fps for index in (_STEPS_OUT[0], _STEPS_OUT[-1]))
    assert begun == pytest.approx({"seen": first, "near": first, "stays": first + 0.2})
    for event in ended.values():
        assert (event.start_s, event.end_s) == pytest.approx((first, last))
    assert len(ended) == 3
    assert ended["near"].peak == pytest.approx(_AHEAD_M, rel=0.1)
