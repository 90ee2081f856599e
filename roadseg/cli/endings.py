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
from pathlib import Path
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
    command: its results would be lost, or a traceback printed. What nobody reads is dropped. So is
    what a full disk has no room for on stderr: no run of a week ends for a line of its log. Results
    on stdout are another matter. What stdout cannot say, as names of files that are not Unicode, is
    escaped, as Python does for stderr.
    """
    _occupy_descriptors()
    before = sys.stdout, sys.stderr
    with contextlib.ExitStack() as stack:
        for wrapper in before:
            if isinstance(wrapper, io.TextIOWrapper) and wrapper.errors == "strict":
                wrapper.reconfigure(errors="backslashreplace")
                stack.callback(wrapper.reconfigure, errors="strict")
        nowhere = stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
        out, err = before[0] or nowhere, before[1] or nowhere
        lasting = _Lasting(out), _Lasting(err, is_log=True)
        mine = tuple(cast("TextIO", each) for each in lasting)
        sys.stdout, sys.stderr = mine
        try:
            yield
        finally:
            for stream in lasting:
                stream.finish()
            # Whoever put another in its place meanwhile takes that away themselves.
            if sys.stdout is mine[0]:
                sys.stdout = before[0]
            if sys.stderr is mine[1]:
                sys.stderr = before[1]


def _occupy_descriptors() -> None:
    """Lead what was closed (`2>&-`) nowhere: the next file would take its place, and what FFmpeg
    and OpenVINO say on stderr would stand in the middle of a video."""
    for number in range(3):
        if not _is_open(number):
            nowhere = os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            os.set_inheritable(nowhere, True)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


class _Lasting:
    """A text stream that leads nowhere once nobody is at its other end.

    Args:
        stream: where text goes.
        is_log: no text is worth an error.
    """

    def __init__(self, stream: TextIO, *, is_log: bool = False) -> None:
        self._stream = stream
        self._is_log = is_log

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except OSError as exc:
            self._bear(exc)
        return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except OSError as exc:
            self._bear(exc)

    def finish(self) -> None:
        """Flush at the end: what cannot be written then is dropped, or raised."""
        try:
            self._stream.flush()
        except OSError as exc:
            if not self._is_log:
                self._bear(exc)
            else:
                self._lead_nowhere()

    def _bear(self, exc: OSError) -> None:
        if exc.errno in _NOBODY_LISTENS:
            self._lead_nowhere()
        elif not self._is_log:
            raise exc

    def _lead_nowhere(self) -> None:
        # Not the Python object but what is below it: it still holds text, which it would try
        # to write again at the end of the process.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, self._stream.fileno())
        finally:
            os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
