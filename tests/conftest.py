"""What every test runs with; the fixtures are in `tests/support/`."""

from __future__ import annotations

import signal

import pytest

pytest_plugins = ["tests.support.datasets", "tests.support.fixtures"]
pytest.register_assert_rewrite("tests.support")

# A shell that starts the suite in the background makes it ignore Ctrl-C, and nohup a terminal that
# closes; so would the commands that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
