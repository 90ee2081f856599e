"""HDR pictures (HLG and PQ) with about the look that they have in SDR.

A lookup table does it all: the transfer function to light, BT.2020's primaries to BT.709's, the
brightest highlights rolled off, the transfer function of an ordinary screen. Light is scaled so
that HDR's reference white, 203 cd/m2, becomes white (ITU-R BT.2408).
"""

from __future__ import annotations

import tempfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roadseg.media.pictures.filters import FilterGraph

if TYPE_CHECKING:
    from av.video.frame import VideoFrame


Floats = npt.NDArray[np.float64]

# Transfer characteristics by the numbers of ISO/IEC 23091-2.
_PQ = 16
_HLG = 18

_REFERENCE_WHITE = 203.0  # cd/m2, ITU-R BT.2408
_HLG_PEAK = 1000.0  # cd/m2 of the screen that HLG's system gamma of 1.2 is for, ITU-R BT.2100
_SCREEN_GAMMA = 2.4  # ITU-R BT.1886

# Light up to here stays what it is; above, up to the peak, it is rolled off.
_KNEE = 0.8

_TO_BT709 = np.array(  # ITU-R BT.2087
    [
        [1.6605, -0.5876, -0.0728],
        [-0.1246, 1.1329, -0.0083],
        [-0.0182, -0.1006, 1.1187],
    ]
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020

# Points on each axis of the table; FFmpeg interpolates between them.
_POINTS = 33


def is_hdr(picture: VideoFrame) -> bool:
    """Whether a picture's transfer function is HLG or PQ."""
    return picture.color_trc in (_PQ, _HLG)


def to_sdr(signal: Floats, transfer: int) -> Floats:
    """HDR signal to the signal of an ordinary screen.

    Args:
        signal: (..., 3) RGB in BT.2020's primaries, 0..1.
        transfer: 16 for PQ (SMPTE ST 2084), 18 for HLG (ARIB STD-B67).

    Returns:
        (..., 3) RGB in BT.709's primaries, 0..1.
    """
    nits = _pq_light(signal) if transfer == _PQ else _hlg_light(signal)
    light = np.maximum(nits / _REFERENCE_WHITE @ _TO_BT709.T, 0.0)
    # By the largest of the three, so that hues stay.
    largest = light.max(axis=-1, keepdims=True)
    peak = _HLG_PEAK / _REFERENCE_WHITE
    scale = np.divide(
        _rolled_off(largest, peak), largest, where=largest > 0, out=np.ones_like(largest)
    )
    shown: Floats = np.clip(light * scale, 0.0, 1.0) ** (1 / _SCREEN_GAMMA)
    return shown


def _hlg_light(signal: Floats) -> Floats:
    """cd/m2 on a screen of 1000, ITU-R BT.2100, table 5."""
    a = 0.17883277
    b = 1 - 4 * a
    c = 0.5 - a * np.log(4 * a)
    scene = np.where(signal <= 0.5, signal**2 / 3, (np.exp((signal - c) / a) + b) / 12)
    luminance = (scene @ _LUMINANCE)[..., None]
    light: Floats = _HLG_PEAK * luminance**0.2 * scene
    return light


def _pq_light(signal: Floats) -> Floats:
    """cd/m2, ITU-R BT.2100, table 4."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = signal ** (1 / m2)
    light: Floats = 10_000 * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    return light


def _rolled_off(light: Floats, peak: float) -> Floats:
    """0..peak to 0..1: the same up to the knee, smooth there, 1 at the peak and above."""
    room = 1 - _KNEE
    above = np.clip(light - _KNEE, 0, peak - _KNEE)
    # Of the curves a x / (x + b) the one whose slope at the knee is 1 and that ends in 1.
    b = room * (peak - _KNEE) / (peak - _KNEE - room)
    rolled: Floats = np.where(light > _KNEE, _KNEE + b * above / (above + b), light)
    return rolled


@lru_cache(maxsize=2)
def _cube(transfer: int) -> str:
    """The lookup table as a file of Adobe's Cube format; red changes fastest."""
    axis = np.linspace(0, 1, _POINTS)
    blue, green, red = np.meshgrid(axis, axis, axis, indexing="ij")
    table = to_sdr(np.stack([red, green, blue], axis=-1), transfer).reshape(-1, 3)
    rows = "\n".join(f"{r:.5f} {g:.5f} {b:.5f}" for r, g, b in table)
    return f"LUT_3D_SIZE {_POINTS}\n{rows}\n"


class ToneMap:
    """Applies the lookup table, with FFmpeg's filter `lut3d`."""

    def __init__(self) -> None:
        self._graph: FilterGraph | None = None
        self._transfer = 0

    def __call__(self, picture: VideoFrame) -> VideoFrame:
        """The picture as 8-bit RGB in SDR."""
        transfer = int(picture.color_trc)
        if self._graph is None or transfer != self._transfer or not self._graph.takes(picture):
            self._graph, self._transfer = self._build(picture, transfer), transfer
        (mapped,) = self._graph(picture)
        return mapped

    def _build(self, picture: VideoFrame, transfer: int) -> FilterGraph:
        # The filter reads its table when the graph is configured, and never again.
        with tempfile.TemporaryDirectory(prefix="roadseg-") as folder:
            path = Path(folder) / "hdr.cube"
            path.write_text(_cube(transfer), encoding="ascii")
            # In a filter's arguments \ and : end words.
            name = str(path).replace("\\", "/").replace(":", "\\:")
            return FilterGraph(
                picture,
                ("scale", "in_color_matrix=bt2020"),
                ("format", "gbrp10"),
                ("lut3d", f"file={name}:interp=tetrahedral"),
                ("format", "gbrp"),
            )
