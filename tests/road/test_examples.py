from __future__ import annotations

import doctest
import importlib
import pkgutil

import cv2
import numpy as np
import pytest

import roadseg.road
from roadseg.core.labels import ClassSet
from roadseg.road import FlatRoad, Vocabulary
from tests.support import ROOT

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(roadseg.road.__path__, "roadseg.road.")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_in_docstrings_are_right(name: str) -> None:
    module = importlib.import_module(name)
    shared = {"np": np, "cv2": cv2, "ClassSet": ClassSet, "Vocabulary": Vocabulary}
    result = doctest.testmod(module, extraglobs={**shared, "FlatRoad": FlatRoad})
    assert result.failed == 0


def test_every_read_out_has_an_example() -> None:
    without = {"Doubt", "DoubtMaps", "Event", "Occupancy", "Profile", "Rule", "GROUPS"}
    for name in set(roadseg.road.__all__) - without:
        assert ">>>" in (getattr(roadseg.road, name).__doc__ or ""), name


def test_examples_of_the_page_are_right() -> None:
    page = ROOT / "docs" / "road.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 20
    assert result.failed == 0
