"""Connections of viewers: how many there may be, and how long one may say nothing."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

_MOST_CONNECTIONS = 128
_LOOK_S = 5.0


class LimitedProtocol(H11Protocol):
    """HTTP that closes connections which ask for nothing, and those beyond the limit.

    uvicorn's own limit begins with the first answer. What is behind finds the connection in
    `scope["state"]["transport"]`.
    """

    _timer: asyncio.TimerHandle | None = None
    _was_idle = False

    def connection_made(self, transport: Any) -> None:
        """See `asyncio.Protocol`."""
        self.app_state = {**self.app_state, "transport": transport}
        full = len(self.connections) >= _MOST_CONNECTIONS
        super().connection_made(transport)
        if full:
            transport.abort()
        else:
            self._timer = self.loop.call_later(_LOOK_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look(self) -> None:
        if self.transport.get_protocol() is not self:
            return  # a WebSocket by now, with limits of its own
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self._was_idle:
            self.transport.abort()
            return
        self._was_idle = idle
        self._timer = self.loop.call_later(_LOOK_S, self._look)
