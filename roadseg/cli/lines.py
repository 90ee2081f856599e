"""What the library has to say, as lines on the terminal: its log, printed."""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

_LOGGERS = ("roadseg", "tools")

_LOG = logging.getLogger("roadseg.cli")


class _Lines(logging.Handler):
    """Prints each record as a line, also above a progress bar, which takes the streams' place.

    Warnings say that they are, on stderr, where details for `--debug` go as well.
    """

    on_stdout = False
    as_json = False

    def emit(self, record: logging.LogRecord) -> None:
        if self.as_json:
            sys.stderr.write(f"{_json_line(record)}\n")
            sys.stderr.flush()
            return
        line = record.getMessage()
        if record.levelno >= logging.WARNING:
            line = f"warning: {line}"
        own = self.on_stdout and record.levelno == logging.INFO
        stream = sys.stdout if own else sys.stderr
        stream.write(f"{line}\n")
        stream.flush()


def _json_line(record: logging.LogRecord) -> str:
    """A record for programs; what is logged as a value is there field by field."""
    line: dict[str, object] = {
        "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
        "level": record.levelname.lower(),
        "logger": record.name,
        "message": record.getMessage(),
    }
    values = record.args if isinstance(record.args, tuple) else ()
    for value in values:
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            line[type(value).__name__] = dataclasses.asdict(value)
    return json.dumps(line, default=lambda value: getattr(value, "value", None) or str(value))


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
        _LINES.as_json = False
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


def print_json() -> None:
    """From here to the end of the command every line on stderr is a JSON object, for programs that
    collect logs."""
    _LINES.as_json = True


def print_error(text: str) -> None:
    """Say on stderr what has ended the command."""
    if _LINES.as_json:
        _LOG.error("%s", text)
    else:
        sys.stderr.write(f"error: {text}\n")
