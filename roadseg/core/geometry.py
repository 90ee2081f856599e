"""Frames to network input, and the network's labels back to the frame: an exact inverse pair.

Normalisation is not here: it is folded into the network, which takes uint8 BGR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import cv2
import numpy as np

from roadseg.core.planes import Planes
from roadseg.core.resize import resized
from roadseg.core.types import Image, Labels, Picture, size_of

PIXEL_BUDGET = 352 * 480
"""Pixels of the default network input, whatever its aspect ratio."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """How a frame was mapped onto the network's input, so that the way back is exact.

    The whole frame is resized to the whole network input (no padding): pixel centre
    (x + 0.5, y + 0.5) of one maps to the same fraction of the other. The network size is
    chosen with the source's aspect ratio, so that shapes are not distorted.
    """

    source_hw: tuple[int, int]
    network_hw: tuple[int, int]


@dataclass(frozen=True)
class LabelMap:
    """The segmentation of one frame.

    Attributes:
        network_ids: (h, w) uint8 class ids at the network's resolution.
        geometry: where the frame came from.
    """

    network_ids: Labels
    geometry: Geometry
    _source_ids: list[Labels] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def ids(self) -> Labels:
        """(H, W) uint8 class ids at the source's resolution, computed at first use."""
        if not self._source_ids:
            self._source_ids.append(to_source(self.network_ids, self.geometry))
        return self._source_ids[0]


def network_size(
    source_hw: tuple[int, int], *, multiple: int = 32, budget: int = PIXEL_BUDGET
) -> tuple[int, int]:
    """Network input (height, width) with the aspect ratio of `source_hw`.

    Both sides are multiples of `multiple` (the network halves its input that often without a
    remainder) and the area comes as near to `budget` pixels as it can without exceeding it
    much: 360x480 gives 352x480, 540x960 and 1080x1920 give 320x576.
    """
    height, width = source_hw
    aspect = min(max(width / height, 1 / 4), 4.0)
    ideal = math.sqrt(budget / aspect)
    best: tuple[float, tuple[int, int]] | None = None
    for rows in (math.floor(ideal / multiple), math.ceil(ideal / multiple)):
        h = max(rows, 1) * multiple
        for columns in (math.floor(budget / h / multiple), math.ceil(h * aspect / multiple)):
            w = max(columns, 1) * multiple
            distortion = abs(math.log(w / h / aspect))
            miss = abs(math.log(h * w / budget))
            score = (distortion + miss, (h, w))
            if best is None or score < best:
                best = score
    assert best is not None
    return best[1]


def preprocess(
    picture: Picture, network_hw: tuple[int, int], out: Image | None = None
) -> tuple[Image, Geometry]:
    """Resize a frame to the network's input, unless it has that size already.

    Args:
        picture: (H, W, 3) uint8 BGR, or planes, which are resized before they become BGR.
        network_hw: height and width of the network's input.
        out: optional (h, w, 3) uint8 C-contiguous buffer to write into.

    Returns:
        (h, w, 3) uint8 BGR, and the geometry that leads back. When the frame already has the
        network's size and no `out` is given, the frame itself is returned, not a copy.

    Raises:
        ValueError: the frame is not (H, W, 3) uint8.
    """
    if not isinstance(picture, Planes) and (
        picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8
    ):
        raise ValueError(
            f"expected a (H, W, 3) uint8 BGR frame, got {picture.shape} {picture.dtype}"
        )
    source_hw = size_of(picture)
    geometry = Geometry(source_hw=source_hw, network_hw=network_hw)
    if isinstance(picture, Planes):
        return picture.resized_bgr(network_hw, out), geometry
    if source_hw == network_hw:
        if out is None:
            return np.ascontiguousarray(picture), geometry
        np.copyto(out, picture)
        return out, geometry
    return resized(picture, network_hw, out), geometry


def postprocess(network_ids: Labels, geometry: Geometry) -> LabelMap:
    """Wrap the network's labels with the way back to the frame.

    Raises:
        ValueError: the labels do not have the geometry's network size, or are not uint8.
    """
    if network_ids.shape != geometry.network_hw or network_ids.dtype != np.uint8:
        raise ValueError(
            f"expected {geometry.network_hw} uint8 labels, "
            f"got {network_ids.shape} {network_ids.dtype}"
        )
    return LabelMap(network_ids=network_ids, geometry=geometry)


def to_source(network_ids: Labels, geometry: Geometry) -> Labels:
    """(H, W) uint8 labels at the source's size: each pixel takes the nearest network label."""
    if geometry.source_hw == geometry.network_hw:
        return network_ids
    height, width = geometry.source_hw
    # NEAREST_EXACT samples at pixel centres; plain NEAREST is off by half a pixel.
    resized: Labels = cv2.resize(
        network_ids, (width, height), interpolation=cv2.INTER_NEAREST_EXACT
    )
    return resized
