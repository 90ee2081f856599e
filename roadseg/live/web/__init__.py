"""The page: cameras, their labels and their figures in any browser.

    station --Result--> feed --JPEG and labels, made once--> viewers (one WebSocket each)

The server runs in a thread with its own event loop. Results reach it through slots of one, and it
never waits for a viewer: each has at most one unacknowledged message per camera on its way.

`serve` is all that a run needs; what it imports comes with the extra `web`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from roadseg.core.installing import require
from roadseg.core.labels import CAMVID, DEFAULT_PALETTE, ClassSet

if TYPE_CHECKING:
    from roadseg.live.station import Station
    from roadseg.live.web.hub import Hub
    from roadseg.live.web.recordings import Recorder


def check_installed(what: str = "the page") -> None:
    """Make sure that there is all that the page needs.

    Args:
        what: needs it, for a message.

    Raises:
        BackendError: the extra `web` is missing.
    """
    require(what, ("starlette", "uvicorn", "websockets", "prometheus_client"), "web")


@contextmanager
def serve(
    stations: Sequence[Station],
    address: str = "127.0.0.1",
    port: int = 8080,
    *,
    token: str | None = None,
    hosts: Sequence[str] = (),
    classes: ClassSet = CAMVID,
    palette: str = DEFAULT_PALETTE,
    recorder: Recorder | None = None,
) -> Iterator[Hub]:
    """Serve the page until the block ends.

    Args:
        stations: of a `LiveRun`.
        address: to listen on. Others than this machine's own need a token.
        port: 0 takes any that is free; see `Hub.port`.
        token: what viewers must know. Beyond this machine one is made where none is given; show
            `Hub.visit_url` once, which holds it.
        hosts: further names that viewers may use for this machine, as behind a proxy.
        classes: what the labels name.
        palette: of the finished pictures, and of the page until a viewer chooses another.
        recorder: lets viewers start, stop and download recordings.

    Raises:
        BackendError: the extra `web` is missing.
        UsageError: the address or port cannot be had, or the token is too short.
    """
    check_installed()
    from roadseg.live.web.hub import Hub

    hub = Hub(
        stations,
        address,
        port,
        token=token,
        hosts=hosts,
        classes=classes,
        palette=palette,
        recorder=recorder,
    )
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()
