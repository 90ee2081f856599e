"""Networks are compiled once for each shape, and given back."""

from __future__ import annotations

import numpy as np
import pytest

from roadseg.backends.fake import FakeBackend
from roadseg.core.geometry import network_size
from roadseg.loading.choice import choose
from roadseg.loading.segmenter import Segmenter
from tests.support.frames import gradient


def test_what_is_decided_already_is_not_looked_up_again(monkeypatch):
    choice = choose("segnet-lite", "fake", size_hw=(96, 64))
    monkeypatch.setattr("roadseg.loading.segmenter.choose", None)
    with Segmenter.of(choice, keep=1) as segmenter:
        segmenter(gradient(48, 64))
        assert segmenter.choice is choice
        assert segmenter.network_hw == segmenter.size_hw == (96, 64)


@pytest.fixture
def created(monkeypatch):
    """Every backend that is created, with a note when it is closed."""
    backends = []

    class Noted(FakeBackend):
        def __init__(self, network_hw) -> None:
            super().__init__(network_hw)
            self.closed = False
            backends.append(self)

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(
        "roadseg.loading.choice.Choice.open", lambda choice, hw, **_options: Noted(hw)
    )
    return backends


def test_networks_are_compiled_once_per_aspect_ratio(created):
    segmenter = Segmenter(backend="fake")
    segmenter.prepare((540, 960))
    for height, width in ((540, 960), (1080, 1920), (960, 540), (540, 960)):
        segmenter(np.zeros((height, width, 3), np.uint8))
    assert [backend.network_hw for backend in created] == [
        network_size((540, 960)),
        network_size((960, 540)),
    ]
    segmenter.close()
    assert all(backend.closed for backend in created)
    segmenter.close()


def test_the_network_unused_for_longest_is_given_back(created):
    segmenter = Segmenter(backend="fake")
    for width in (100, 200, 100, 300, 400):
        segmenter(np.zeros((100, width, 3), np.uint8))
    assert [backend.closed for backend in created] == [False, True, False, False]
