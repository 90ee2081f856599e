"""One thread of a chain that ends as a whole, and the first error of all of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar

from roadseg.video.channel import Channel, Closed

_T = TypeVar("_T")


class Stage(threading.Thread, Generic[_T]):
    """Moves results into the outbox; at its end, stops both neighbours.

    Attributes:
        ended: set when nothing is left to do. Wait for this rather than in `join`, which in
            Python 3.10 to 3.12 takes a running thread for a finished one after a Ctrl-C.
    """

    def __init__(
        self,
        name: str,
        inbox: Channel[Any] | None,
        results: Iterable[_T],
        outbox: Channel[_T],
        on_error: Callable[[BaseException], None],
    ) -> None:
        # Daemon: should a driver never return from a read, the program can still end.
        super().__init__(name=f"roadseg-{name}", daemon=True)
        self.ended = threading.Event()
        self._inbox = inbox
        self._results = results
        self._outbox = outbox
        self._on_error = on_error

    def run(self) -> None:
        try:
            for result in self._results:
                self._outbox.put(result)
        except Closed:
            pass  # the stage behind this one has ended
        except BaseException as exc:  # noqa: BLE001  (`VideoLoop.run` raises it)
            self._on_error(exc)
        finally:
            if self._inbox is not None:
                self._inbox.cancel()
            self._outbox.close()
            self.ended.set()


class FirstError:
    """Keeps the first error of all threads; what fails after it follows from it."""

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._lock = threading.Lock()

    def keep(self, exc: BaseException) -> None:
        """Take note of an error, from any thread."""
        with self._lock:
            if self.error is None:
                self.error = exc
