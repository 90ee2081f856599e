"""A clock that is turned by hand, and the check that no thread is left behind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from tests.support.live import FakeClock, eventually


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def no_thread_left() -> Iterator[None]:
    """Every thread that the test started has ended."""
    before = set(threading.enumerate())
    yield
    eventually(lambda: not [t for t in threading.enumerate() if t not in before])
