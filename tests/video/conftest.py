"""What tests of the video loop leave behind: no thread."""

from __future__ import annotations

import faulthandler
import threading

import pytest

from tests.support.video import PATIENCE_S


@pytest.fixture
def no_thread_left():
    before = set(threading.enumerate())
    faulthandler.dump_traceback_later(4 * PATIENCE_S, exit=True)
    yield
    faulthandler.cancel_dump_traceback_later()
    assert [t.name for t in threading.enumerate() if t not in before] == []
