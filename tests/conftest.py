"""What every test runs with; the fixtures are in `tests/support/`."""

from __future__ import annotations

import locale
import logging
import random
import signal
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from roadseg.core.wording import naming_options

pytest_plugins = ["tests.support.datasets", "tests.support.fixtures"]
pytest.register_assert_rewrite("tests.support")

# A shell that starts the suite in the background makes it ignore Ctrl-C, and nohup a terminal that
# closes; so would the commands that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


@pytest.fixture(scope="session", autouse=True)
def _users_cache_is_left_alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What tests compile is kept for this session alone; `own_cache` is a test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROADSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def as_typed() -> Iterator[None]:
    """Messages as the command line words them; tests/core/test_wording.py has those of Python."""
    with naming_options():
        yield


@pytest.fixture(autouse=True)
def _logs_are_heard() -> None:
    """Libraries that convert networks quieten every handler that there is, those of pytest, too."""
    for handler in logging.root.handlers:
        handler.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def _locale_stays() -> Iterator[None]:
    """OpenVINO sets it while it reads and writes networks; with several threads it may stay C."""
    before = locale.setlocale(locale.LC_CTYPE)
    yield
    locale.setlocale(locale.LC_CTYPE, before)


@pytest.fixture(autouse=True)
def _chance_is_the_same_each_time() -> None:
    """Whatever ran before in this process: which tests do is up to chance itself."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002  (for those that still ask it)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
