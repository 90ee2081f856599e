"""Lines painted along and across the street, as exact shares of each pixel's footprint."""

from __future__ import annotations

import numpy as np

from roadseg.synth.noise import Array
from roadseg.synth.street import Street

_PERIOD_M = 6.0  # of dashes; a whole number of them fits a chunk


def band(value: Array, centre: float, half_width: float, footprint: Array) -> Array:
    """Share of footprints, centred on `value`, that a line covers: 0..1."""
    low = np.clip((value - np.float32(centre - half_width)) / footprint + np.float32(0.5), 0, 1)
    high = np.clip((np.float32(centre + half_width) - value) / footprint + np.float32(0.5), 0, 1)
    return np.asarray(np.maximum(low + high - 1, 0), np.float32)


def dashes(value: Array, length: float, footprint: Array, period: float = _PERIOD_M) -> Array:
    """Share of footprints that dashes of `length`, one every `period`, cover: 0..1."""
    turns = value * np.float32(1 / period)
    place = np.abs(turns - np.floor(turns) - np.float32(0.5)) * np.float32(period)
    cover = np.clip((length / 2 - place) / np.minimum(footprint, period) + 0.5, 0, 1)
    lost = np.clip(footprint / period * 1.5 - 0.5, 0, 1)  # too far off to tell dashes apart
    return np.asarray(cover * (1 - lost) + length / period * lost, np.float32)


def street_markings(
    street: Street,
    base_s: float,
    s: Array,
    t: Array,
    across: Array,
    along: Array,
    phase: float,
) -> tuple[Array, Array]:
    """Coverage (h, w) by white and by yellow paint.

    Args:
        base_s: where the street coordinate `s` (h, w) counts from, a whole number of chunks.
        across, along: footprints of the pixels in metres.
        phase: where dashes begin.
    """
    layout = street.layout
    half = layout.half_width
    white = np.zeros_like(s)
    yellow = np.zeros_like(s)
    if layout.lanes > 1:
        if layout.centre_line == 0:
            white += band(t, 0.0, 0.06, across) * dashes(s + phase, 4.0, along)
        elif layout.centre_line == 1:
            white += band(t, 0.0, 0.05, across) * dashes(s + phase, 2.0, along)
        else:
            white += band(t, 0.09, 0.05, across)
            white += band(t, -0.09, 0.05, across) * dashes(s, 3.0, along)
    if layout.lanes == 4:
        for at in (-half / 2, half / 2):
            white += band(t, at, 0.05, across) * dashes(s + phase, 2.0, along)
    for side, sign in enumerate((-1, 1)):
        if layout.parking[side]:
            white += band(t, sign * (half - 2.1), 0.05, across) * dashes(s, 5.0, along)
        elif layout.yellow_lines:
            yellow += band(t, sign * (half - 0.25), 0.04, across)
            yellow += band(t, sign * (half - 0.42), 0.04, across)
    for chunk in street.chunks(base_s + float(s.min()), base_s + float(s.max())):
        if chunk.crossing_s is None:
            continue
        at = chunk.crossing_s - base_s
        road = band(t, 0, half - 0.3, across)
        white += band(s, at + 1.5, 1.2, along) * road * dashes(t, 0.6, across, 1.2)
        if layout.lanes > 1:
            white += band(s, at - 1.6, 0.12, along) * band(t, -half / 2, half / 2, across)
    return np.minimum(white, 1), np.minimum(yellow, 1)
