"""Signals that ask an archive to stop, heard between two steps and never in the middle of one."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class StopRequests:
    """Inside the block Ctrl-C, SIGTERM and SIGHUP are counted, and interrupt nothing.

    After it they have their effect: the handlers that were there before get what came. A signal
    that is ignored (nohup) stays ignored. Outside the main thread, where Python delivers no
    signals, nothing is heard.

    >>> with StopRequests() as stop:
    ...     while not stop.at_once:
    ...         work()
    """

    def __init__(self) -> None:
        self._came: list[int] = []
        self._before: dict[int, Any] = {}

    @property
    def soon(self) -> bool:
        """To begin nothing more."""
        return bool(self._came)

    @property
    def at_once(self) -> bool:
        """To give up what is going on: a second Ctrl-C, or what a system sends before it kills."""
        return len(self._came) > 1 or any(number != signal.SIGINT for number in self._came)

    def __enter__(self) -> StopRequests:
        for name in _SIGNALS:
            number = getattr(signal, name, None)
            if number is None or signal.getsignal(number) in (signal.SIG_IGN, None):
                continue
            try:
                self._before[number] = signal.signal(number, self._hear)
            except ValueError:
                return self  # another thread
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._came and kind is None:
            signal.raise_signal(self._came[0])

    def _hear(self, number: int, _frame: FrameType | None) -> None:
        self._came.append(number)
