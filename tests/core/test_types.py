from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from roadseg.core import types
from roadseg.core.geometry import Geometry, LabelMap
from roadseg.core.types import Frame


def test_frame_knows_its_size() -> None:
    frame = Frame(picture=np.zeros((3, 5, 3), np.uint8), index=0, time_s=0.0, captured_s=1.0)
    assert frame.size_hw == (3, 5)


def test_values_are_frozen() -> None:
    geometry = Geometry(source_hw=(2, 2), network_hw=(1, 1))
    label_map = LabelMap(np.zeros((1, 1), np.uint8), geometry)
    frame = Frame(np.zeros((1, 1, 3), np.uint8), 0, 0.0, 0.0)
    for value, attribute in (
        (geometry, "source_hw"),
        (label_map, "network_ids"),
        (frame, "index"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(value, attribute, None)


def test_label_map_is_enlarged_once_and_kept() -> None:
    network_ids = np.array([[3, 8]], np.uint8)
    label_map = LabelMap(network_ids, Geometry(source_hw=(2, 4), network_hw=(1, 2)))
    np.testing.assert_array_equal(label_map.ids, [[3, 3, 8, 8], [3, 3, 8, 8]])
    assert label_map.ids is label_map.ids


def test_label_map_of_the_same_size_is_not_copied() -> None:
    network_ids = np.array([[3, 8]], np.uint8)
    label_map = LabelMap(network_ids, Geometry(source_hw=(1, 2), network_hw=(1, 2)))
    assert label_map.ids is network_ids


def test_all_is_what_the_module_defines() -> None:
    assert types.__all__ == ["Frame", "Image", "Labels", "Picture", "as_bgr", "size_of"]
    assert all(hasattr(types, name) for name in types.__all__)
