"""A camera's results on their way to viewers: compressed once for all, and only on demand."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from roadseg.live.outputs import Result
from roadseg.live.slot import Slot
from roadseg.live.station import Station
from roadseg.live.web.message import Encoded, encode


class Feed:
    """Used by the hub's event loop alone, but for what wakes it.

    Args:
        station: the camera.

    Attributes:
        newest: the latest result; it stays when the camera is lost.
        encodings: pictures that were compressed so far.
    """

    def __init__(self, station: Station) -> None:
        self.station = station
        self.newest: Result | None = None
        self.encodings = 0
        self._slot: Slot[Result] | None = None
        self._news: set[asyncio.Event] = set()
        self._made: dict[int, asyncio.Task[Encoded]] = {}
        self._made_of: Result | None = None

    def watch(self, news: asyncio.Event) -> None:
        """Set the event with every new result, until `unwatch`. The newest counts as new."""
        if self._slot is None:
            loop = asyncio.get_running_loop()

            def wake() -> None:
                # The loop may have ended; the thread that brings results must not notice.
                with suppress(RuntimeError):
                    loop.call_soon_threadsafe(self._take)

            self._slot = self.station.watch(wake)
            self.newest = self.station.newest
        self._news.add(news)
        if self.newest is not None:
            news.set()

    def unwatch(self, news: asyncio.Event) -> None:
        """The inverse; the last one leaves the station alone, and lets go of its pictures."""
        self._news.discard(news)
        if not self._news and self._slot is not None:
            self.station.unwatch(self._slot)
            self._slot = None
            self.newest = self._made_of = None
            self._made.clear()

    async def encoded(self, rung: int) -> Encoded:
        """The newest result, compressed in another thread; others wait for the same one."""
        assert self.newest is not None
        if self._made_of is not self.newest:
            self._made_of = self.newest
            self._made = {}
        if rung not in self._made:
            self.encodings += 1
            job = asyncio.to_thread(encode, self.newest, rung)
            self._made[rung] = asyncio.get_running_loop().create_task(job)
        return await asyncio.shield(self._made[rung])

    def _take(self) -> None:
        result = self._slot.take() if self._slot is not None else None
        if result is None:
            return
        self.newest = result
        for news in self._news:
            news.set()
