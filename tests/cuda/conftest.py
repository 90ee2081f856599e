"""Implementations of `Cuda` over stand-ins that move host memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.support.cuda.driver import StandInDriver
from tests.support.cuda.implementation import Implementation
from tests.support.cuda.pycuda import StandInPycuda


@pytest.fixture
def stand_in_driver() -> StandInDriver:
    return StandInDriver()


@pytest.fixture
def stand_in_pycuda() -> StandInPycuda:
    return StandInPycuda()


@pytest.fixture
def make_cuda() -> Iterator[Callable[[str], Implementation]]:
    made: list[Implementation] = []

    def make(kind: str) -> Implementation:
        made.append(Implementation(kind))
        return made[-1]

    yield make
    for implementation in made:
        implementation.cuda.close()
        # pycuda ends the process when a thread leaves a context on its stack.
        assert not any(implementation.pycuda.pushed.values())
        assert implementation.driver.retained == 0
