"""Network output back to the frame: the inverse of `roadseg.preprocess`."""

from __future__ import annotations

import cv2
import numpy as np

from roadseg.types import Geometry, LabelMap, Labels

__all__ = ["postprocess", "to_source"]


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
