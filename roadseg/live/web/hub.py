"""The server of the page: addresses, and the thread that serves them."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import secrets
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.websockets import WebSocket

from roadseg.core.errors import UsageError
from roadseg.core.labels import CAMVID, DEFAULT_PALETTE, PALETTES, ClassSet, palette_bgr
from roadseg.core.version import __version__
from roadseg.core.wording import option
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.station import Station
from roadseg.live.web.connections import LimitedProtocol
from roadseg.live.web.feed import Feed
from roadseg.live.web.gate import Gate, is_loopback, known_hosts
from roadseg.live.web.metrics import CONTENT_TYPE, Metrics
from roadseg.live.web.mjpeg import Mjpeg
from roadseg.live.web.recordings import Recorder, on_disk
from roadseg.live.web.status import StatusBoard, health
from roadseg.live.web.viewer import MAX_MESSAGE_BYTES, Counts, Viewer

_STATIC = Path(__file__).parent / "static"
_MOST_VIEWERS = 32
_SHORTEST_TOKEN = 8
_ENDS_S = 5.0

# Compressing for viewers takes no more of the processor than this, however many cameras there are.
_ENCODERS = 2

_BIND_ADVICE = {
    errno.EADDRINUSE: f"free the port, or take another, such as {option('--web', 8090)}",
    errno.EACCES: f"take a port from 1024 on, such as {option('--web', 8080)}",
    errno.EADDRNOTAVAIL: "give an address of this machine; 0.0.0.0 is all of them",
}

_LOG = logging.getLogger("roadseg.live")


class Hub:
    """The page's server. `roadseg.live.web.serve` documents the arguments.

    Attributes:
        port: that is listened on, from `start` on.
        token: that viewers must know; None where all who reach the address may look.
        token_is_made: it was made here, rather than given.
        feeds: one a camera.
        counts: of what was sent.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        address: str = "127.0.0.1",
        port: int = 8080,
        *,
        token: str | None = None,
        hosts: Sequence[str] = (),
        classes: ClassSet = CAMVID,
        palette: str = DEFAULT_PALETTE,
        recorder: Recorder | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        if token is not None and len(token) < _SHORTEST_TOKEN:
            raise UsageError(
                f"the token has fewer than {_SHORTEST_TOKEN} characters",
                fix="take a longer one, or none and use the one that is made",
            )
        self.token_is_made = token is None and not is_loopback(address)
        if self.token_is_made:
            token = secrets.token_urlsafe(18)
        self.port = port
        self.token = token
        self.feeds = tuple(Feed(station) for station in stations)
        self.counts = Counts()
        self._address = address
        self._hosts = hosts
        self._stations = stations
        self._classes = classes
        self._palette = palette
        self._recorder = recorder
        self._clock = clock
        self._board = StatusBoard(stations, recorder, clock)
        self._metrics = Metrics(stations, self.counts, lambda: self.viewers, clock)
        self._mjpegs = {feed.station.name: Mjpeg(feed, palette, classes) for feed in self.feeds}
        self._hello = self._make_hello()
        self._viewers: set[Viewer] = set()
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def viewers(self) -> int:
        """How many look at the page now."""
        return len(self._viewers)

    @property
    def url(self) -> str:
        """Where the page is."""
        host = self._address
        if host in ("0.0.0.0", "::", ""):
            host = socket.gethostname()
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def visit_url(self) -> str:
        """The same with the token, for the first visit, where it was made here: who has given one
        knows it, and it has no place in a log."""
        return f"{self.url}?token={quote(self.token or '')}" if self.token_is_made else self.url

    def start(self) -> None:
        """Listen; returns when the page can be opened. Raises `UsageError`."""
        listening = _listen(self._address, self.port)
        self.port = listening.getsockname()[1]
        # uvicorn's own lines hold addresses with what was asked for; warnings do not.
        config = uvicorn.Config(
            Gate(
                self._app(),
                known_hosts(self._address, self._hosts),
                self.token,
                f"roadseg_{self.port}",
            ),
            loop="asyncio",
            http=LimitedProtocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE_BYTES,
            ws_ping_interval=10.0,
            ws_ping_timeout=20.0,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            h11_max_incomplete_event_size=MAX_MESSAGE_BYTES,
            timeout_keep_alive=10,
            timeout_graceful_shutdown=2,
        )
        self._server = uvicorn.Server(config)
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._run, args=(self._server, listening, ready), name="roadseg-web", daemon=True
        )
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        """Take leave of all viewers, and end the thread. Does nothing a second time."""
        if self._server is None or self._thread is None:
            return
        self._server.should_exit = True
        self._thread.join(_ENDS_S)
        self._server = self._thread = None

    def _run(
        self, server: uvicorn.Server, listening: socket.socket, ready: threading.Event
    ) -> None:
        async def serve() -> None:
            loop = asyncio.get_running_loop()
            loop.set_default_executor(ThreadPoolExecutor(_ENCODERS, "roadseg-web"))
            serving = loop.create_task(server.serve(sockets=[listening]))
            while not (server.started or serving.done()):
                await asyncio.sleep(0.005)
            ready.set()
            await serving

        try:
            asyncio.run(serve())
        except Exception:  # noqa: BLE001  (logged; the run goes on without its page)
            _LOG.exception("the page has ended")
        finally:
            ready.set()
            listening.close()

    def _app(self) -> Starlette:
        routes = [
            Route("/", self._page),
            WebSocketRoute("/live", self._live),
            Route("/healthz", self._health),
            Route("/metrics", self._metrics_text),
            Route("/recordings", self._recordings),
            Route("/recordings/{name}", self._recording),
            Route("/stream/{name:path}.mjpg", self._stream),
            Mount("/static", StaticFiles(directory=_STATIC)),
        ]
        return Starlette(routes=routes)

    def _make_hello(self) -> dict[str, Any]:
        own = self._classes.same_classes(CAMVID)
        names = list(PALETTES) if own else [DEFAULT_PALETTE]
        return {
            "type": "hello",
            "version": __version__,
            "page": _fingerprint(),
            "cameras": [station.name for station in self._stations],
            "classes": list(self._classes.names),
            "palettes": {
                name: palette_bgr(name, self._classes)[:-1, ::-1].tolist() for name in names
            },
            "palette": self._palette,
            "can_record": self._recorder is not None,
        }

    async def _page(self, _: Request) -> Response:
        return FileResponse(_STATIC / "index.html", media_type="text/html")

    async def _live(self, websocket: WebSocket) -> None:
        await websocket.accept()
        if self.viewers >= _MOST_VIEWERS:
            self.counts.refused += 1
            await websocket.close(1013, "too many viewers")
            return
        viewer = Viewer(
            websocket,
            self.feeds,
            self._board,
            self._hello,
            self.counts,
            self._recorder,
            self._clock,
        )
        self._viewers.add(viewer)
        try:
            await viewer.run()
        finally:
            self._viewers.discard(viewer)

    async def _health(self, request: Request) -> Response:
        trusted = request.scope["roadseg.trusted"]
        answer = health(self._stations, details=trusted, now_s=self._clock())
        return JSONResponse(answer, 503 if answer["status"] == "down" else 200)

    async def _metrics_text(self, _: Request) -> Response:
        return Response(self._metrics.text(), media_type=CONTENT_TYPE)

    async def _stream(self, request: Request) -> Mjpeg:
        mjpeg = self._mjpegs.get(request.path_params["name"])
        if mjpeg is None:
            raise HTTPException(404, "there is no such camera")
        return mjpeg

    async def _recordings(self, _: Request) -> Response:
        files = [] if self._recorder is None else await on_disk(self._recorder.files)
        return JSONResponse(
            [
                {
                    "name": file.name,
                    "source": file.source,
                    "began": file.began_wall_s,
                    "bytes": file.size_bytes,
                }
                for file in files
            ]
        )

    async def _recording(self, request: Request) -> Response:
        files = [] if self._recorder is None else await on_disk(self._recorder.files)
        wanted = request.path_params["name"]
        file = next((file for file in files if file.name == wanted), None)
        if file is None or not file.path.is_file():
            raise HTTPException(404, "there is no such recording")
        return FileResponse(
            file.path, filename=file.name, headers={"content-security-policy": "sandbox"}
        )


def _listen(address: str, port: int) -> socket.socket:
    """A bound socket. Raises `UsageError`."""
    try:
        family, _, _, _, place = socket.getaddrinfo(
            address or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(place)
        except OSError:
            listening.close()
            raise
    except OSError as exc:
        raise UsageError(
            f"the page cannot be served at {address}:{port}: {(exc.strerror or str(exc)).lower()}",
            fix=_BIND_ADVICE.get(exc.errno or 0)
            or f"take another, such as {option('--web', 8090)}",
        ) from exc
    return listening


def _fingerprint() -> str:
    """Of the page's files: a page that is left open over an update loads itself again."""
    digest = hashlib.sha256()
    for path in sorted(_STATIC.iterdir()):
        if path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
