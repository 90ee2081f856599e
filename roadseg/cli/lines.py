"""What the library has to say, as lines on the terminal: its log, printed."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("roadseg", "tools")


class _Lines(logging.Handler):
    """Prints each record as a line, also above a progress bar, which takes the streams' place.

    Warnings say that they are, on stderr, where details for `--debug` go as well.
    """

    on_stdout = False

    def emit(self, record: logging.LogRecord) -> None:
        line = record.getMessage()
        if record.levelno >= logging.WARNING:
            line = f"warning: {line}"
        own = self.on_stdout and record.levelno == logging.INFO
        stream = sys.stdout if own else sys.stderr
        stream.write(f"{line}\n")
        stream.flush()


_LINES = _Lines()


@contextmanager
def log_printed() -> Iterator[None]:
    """Inside the block, what roadseg logs is printed, on stderr."""
    before = [(logger, logger.level) for logger in map(logging.getLogger, _LOGGERS)]
    for logger, _level in before:
        logger.addHandler(_LINES)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger, level in before:
            logger.removeHandler(_LINES)
            logger.setLevel(level)


def print_details() -> None:
    """Print what is logged for those who look for a fault, too."""
    for name in _LOGGERS:
        logging.getLogger(name).setLevel(logging.DEBUG)


@contextmanager
def lines_on_stdout() -> Iterator[None]:
    """Inside the block lines go to stdout: they are results of the command, warnings excepted."""
    _LINES.on_stdout = True
    try:
        yield
    finally:
        _LINES.on_stdout = False
