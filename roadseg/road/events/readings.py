"""Reads from a label map what event rules compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import cv2
import numpy as np

from roadseg.core.types import Labels
from roadseg.road.areas import Area, IgnoreMask, Mask, counted
from roadseg.road.corridor import nearest_row
from roadseg.road.events.conditions import Measure
from roadseg.road.flat_road import FlatRoad
from roadseg.road.shares import pixel_counts
from roadseg.road.vocabulary import Vocabulary, check_labels

LEAST_PART = 0.0002
"""A connected part counts from this share of the picture on: 34 pixels of 352x480."""

# In an area of its own, what reaches into a row by less is not in the way. In the frame, whose rows
# are as wide as the picture, a person would be too narrow for that.
_ROW_SHARE = 0.1


def read_measures(
    measures: Iterable[Measure],
    labels: Labels,
    words: Vocabulary,
    regions: Mapping[str, Area],
    ignore: IgnoreMask | None = None,
    camera: FlatRoad | None = None,
) -> dict[Measure, float]:
    """The number of each measure in one frame.

    >>> car = Measure("share", "car", "frame"), Measure("px", "car", "frame")
    >>> labels = np.array([[0, 0], [8, 8], [3, 3], [3, 3]], np.uint8)
    >>> list(read_measures(car, labels, Vocabulary(), {}).values())
    [0.25, 2.0]

    Args:
        measures: what to read.
        labels: (h, w) uint8 class ids.
        words: what the ids mean.
        regions: areas by name; `frame` is known.
        ignore: what does not count.
        camera: for distances in metres; the default of `FlatRoad` without one.

    Returns:
        A share, 0 to 1, NaN where nothing of the region counts; a number of connected parts (of at
        least `LEAST_PART` of the picture each); or the distance to the nearest one, in metres along
        the road or in rows from the picture's lower edge, inf where there is none.

    Raises:
        ValueError: not (h, w) uint8 labels.
    """
    check_labels(labels)
    size_hw = (labels.shape[0], labels.shape[1])
    camera = camera or FlatRoad()
    masks: dict[str, Mask | None] = {}
    counts = {}
    read = {}
    for measure in measures:
        region = measure.region
        if region not in masks:
            masks[region] = counted(regions.get(region), ignore, size_hw)
        mask = masks[region]
        ids = words.ids(measure.what)
        if measure.kind == "share":
            if region not in counts:
                counts[region] = pixel_counts(labels, mask)[: words.classes.num_classes]
            total = int(counts[region].sum())
            read[measure] = int(counts[region][list(ids)].sum()) / total if total else math.nan
            continue
        thing = cv2.LUT(labels, words.table(ids)).reshape(size_hw)
        if measure.kind == "count":
            read[measure] = _parts(thing, mask)
        else:
            everywhere = np.full(size_hw, 255, np.uint8) if mask is None else mask
            share = _ROW_SHARE if region in regions else 0.0
            row = nearest_row(thing, everywhere, share)
            if row is None:
                read[measure] = math.inf
            elif measure.kind == "px":
                read[measure] = float(size_hw[0] - 1 - row)
            else:
                read[measure] = float(camera.distance_m(np.array(row + 1.0), size_hw[0]))
    return read


def _parts(thing: Mask, mask: Mask | None) -> float:
    inside = thing if mask is None else cv2.bitwise_and(thing, mask)
    left, top, width, height = cv2.boundingRect(inside)
    if not width:
        return 0.0
    box = np.ascontiguousarray(inside[top : top + height, left : left + width])
    areas = cv2.connectedComponentsWithStats(box, connectivity=8)[2][1:, cv2.CC_STAT_AREA]
    return float((areas >= LEAST_PART * thing.size).sum())
