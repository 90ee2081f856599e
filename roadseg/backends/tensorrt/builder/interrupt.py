"""Ctrl-C while TensorRT works.

A build is one call that takes minutes, and Python's handlers of signals only run between its own
instructions. Where TensorRT calls back, an exception such as `KeyboardInterrupt` must not arise: it
would pass through C++ and end the process. So Ctrl-C only sets a flag here, which the progress
monitor looks at, and becomes `KeyboardInterrupt` when the call has returned. SIGTERM and SIGHUP are
treated alike where Python handles them; what handled them before does so then.
"""

from __future__ import annotations

import contextlib
import signal
import socket
from types import FrameType
from typing import Any


class DeferredInterrupt:
    """Turns Ctrl-C inside a `with` block into `requested`, and raises it at the end of the block.

    Outside the main thread, where Python delivers no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._number = 0
        self._active = False
        self._handlers: dict[int, Any] = {}
        self._wakeup = -1
        self._pair: tuple[socket.socket, socket.socket] | None = None

    @property
    def requested(self) -> bool:
        """Whether Ctrl-C was pressed; to be asked from any thread, also inside the call."""
        if self._pair is not None and not self._number:
            # The handler below waits for the main thread, which is inside TensorRT. What the
            # system writes here does not.
            with contextlib.suppress(BlockingIOError):
                came = self._pair[0].recv(64)
                self._number = next((n for n in came if n in self._handlers), 0)
        return self._number != 0

    def __enter__(self) -> DeferredInterrupt:
        try:
            self._handlers[signal.SIGINT] = signal.signal(signal.SIGINT, self._on_signal)
        except ValueError:
            return self
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and callable(signal.getsignal(number)):
                self._handlers[number] = signal.signal(number, self._on_signal)
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._pair = reader, writer
        self._wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        self._active = True
        return self

    def __exit__(self, *_error: object) -> None:
        if not self._active:
            return
        self._active = False
        requested = self.requested
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        assert self._pair is not None
        for end in self._pair:
            end.close()
        self._pair = None
        if requested:
            # Whatever else went wrong did so because of it.
            if self._number != signal.SIGINT:
                self._handlers[self._number](self._number, None)
            raise KeyboardInterrupt

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._number = number
