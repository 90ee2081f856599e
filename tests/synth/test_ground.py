"""Markings by hand, and the ground's labels against the street's cross-section."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.core.labels import class_id
from roadseg.synth.canvas import Canvas, Veil
from roadseg.synth.drive import Drive
from roadseg.synth.ground import Ground
from roadseg.synth.markings import band, dashes


def test_band_covers_the_share_of_a_footprint() -> None:
    value = np.array([0.0, 0.1, 0.15, 0.2, 0.3], np.float32)
    footprint = np.full(5, 0.1, np.float32)
    # A line from -0.1 to 0.15, seen by footprints 0.1 wide.
    assert band(value, 0.025, 0.125, footprint) == pytest.approx([1, 1, 0.5, 0, 0], abs=1e-5)


def test_a_line_thinner_than_the_footprint_covers_its_share() -> None:
    cover = band(np.zeros(1, np.float32), 0.0, 0.05, np.full(1, 1.0, np.float32))
    assert cover == pytest.approx([0.1], abs=1e-5)


def test_dashes_repeat_and_melt_together_far_away() -> None:
    value = np.array([3.0, 9.0, 0.0, 6.0, 2.0], np.float32)
    near = np.full(5, 0.01, np.float32)
    assert dashes(value, 2.0, near) == pytest.approx([1, 1, 0, 0, 0.5], abs=1e-4)
    far = np.full(5, 50.0, np.float32)
    assert dashes(value, 2.0, far) == pytest.approx([1 / 3] * 5, abs=1e-5)


@pytest.mark.parametrize("seed", [0, 4, 11])
def test_labels_follow_the_cross_section(seed: int) -> None:
    drive = Drive(seed, (90, 120))
    camera = drive.camera(1.0)
    canvas = Canvas(camera, Veil((200.0, 200.0, 200.0), 0.0))
    street = drive.street
    Ground(seed, street, drive.light).paint(canvas, [])
    half = street.layout.half_width
    checked = 0
    start = drive.traffic.ego_s(1.0)
    sides = [span for c in street.chunks(start, start + 60) for span in c.side_streets]
    for ahead in np.arange(4.0, 30.0, 0.5):
        for t in np.arange(-half - 1.2, half + 1.3, 0.4):
            s = start + ahead
            # A pixel covers a stretch of ground: keep clear of edges by that much.
            reach = 2 * ahead**2 / (camera.focal_px * camera.position[1]) + 0.05
            if abs(abs(t) - half) < 0.1 + 2 * ahead / camera.focal_px:
                continue
            if any(s0 - reach < s < s1 + reach for s0, s1, _ in sides):
                continue
            (pixel,), _ = camera.project(street.place(s, t)[None])
            x, y = np.round(pixel).astype(int)
            if not (0 <= x < 120 and 0 <= y < 90):
                continue
            expected = class_id("road") if abs(t) < half else class_id("pavement")
            assert canvas.labels[y, x] == expected, (s, t)
            checked += 1
    assert checked > 150
