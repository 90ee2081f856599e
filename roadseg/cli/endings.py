"""What ends a command from outside: signals, and a terminal or pipe that is gone."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TextIO, cast

# `docker stop`, systemd, `timeout` and `kill` send the first, a terminal that closes the second,
# which Windows does not have.
_ENDING = ("SIGTERM", "SIGHUP")

# Writing to a pipe without a reader, and to a terminal that was closed.
_NOBODY_LISTENS = (errno.EPIPE, errno.EIO) + ((errno.EINVAL,) if sys.platform == "win32" else ())


@contextmanager
def signals_as_ctrl_c() -> Iterator[list[int]]:
    """SIGTERM and SIGHUP end what runs inside the block as Ctrl-C does: by `KeyboardInterrupt`.

    Each process hears the first one only: a closed terminal sends several, and what they ask for
    is under way. A signal that is ignored (nohup) stays ignored. Outside the main thread, where
    Python delivers no signals, it does nothing.

    Yields:
        The numbers of the signals that came, a list that grows.
    """
    came: list[int] = []
    before: dict[int, Any] = {}

    def end(number: int, _frame: FrameType | None) -> None:
        came.append(number)
        if len(came) == 1:
            raise KeyboardInterrupt

    for name in _ENDING:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            with contextlib.suppress(ValueError):
                before[number] = signal.signal(number, end)
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def sigterm_calls(stop: Callable[[], None]) -> Iterator[None]:
    """Inside the block SIGTERM asks for an orderly end: that is how services are stopped, and no
    failure. Outside the main thread it does nothing."""
    before = None
    with contextlib.suppress(ValueError):
        before = signal.signal(signal.SIGTERM, lambda *_: stop())
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Inside the block nobody has to read stdout and stderr, and they take any text.

    Without this, the end of `roadseg run ... | head -1` or of a terminal would be an error of the
    command: its results would be lost, or a traceback printed. What nobody reads is dropped. So
    would be names of files that are not Unicode: what stdout cannot say is escaped, as Python
    does for stderr.
    """
    before = sys.stdout, sys.stderr
    wrappers = [each for each in before if isinstance(each, io.TextIOWrapper)]
    strict = [each for each in wrappers if each.errors == "strict"]
    for wrapper in strict:
        wrapper.reconfigure(errors="backslashreplace")
    mine = tuple(stream and cast("TextIO", _Lasting(stream)) for stream in before)
    sys.stdout, sys.stderr = mine
    try:
        yield
    finally:
        for stream in mine:
            if stream is not None:
                stream.flush()
        for wrapper in strict:
            wrapper.reconfigure(errors="strict")
        # Whoever put another in its place meanwhile takes that away themselves.
        if sys.stdout is mine[0]:
            sys.stdout = before[0]
        if sys.stderr is mine[1]:
            sys.stderr = before[1]


class _Lasting:
    """A text stream that leads nowhere once nobody is at its other end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as exc:
            self._redirect(exc)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as exc:
            self._redirect(exc)

    def _redirect(self, exc: OSError) -> None:
        if exc.errno not in _NOBODY_LISTENS:
            raise exc
        # Not the Python object but what is below it: it still holds text, which it would try
        # to write again at the end of the process.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        finally:
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
