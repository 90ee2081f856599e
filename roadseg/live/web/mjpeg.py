"""`/stream/NAME.mjpg`: finished pictures for programs that take MJPEG, made only while watched."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from roadseg.core.labels import ClassSet
from roadseg.core.types import Image
from roadseg.live.events import CameraState
from roadseg.live.outputs import Result
from roadseg.live.web.feed import Feed
from roadseg.live.web.message import as_jpeg
from roadseg.render import Renderer

__all__ = ["Mjpeg"]

_BOUNDARY = b"roadseg"
_QUALITY = 80

# A camera that gives nothing new: so often its last picture, or why there is none. Programs that
# went away without a word are noticed by that, too.
_REPEAT_S = 1.0


class Mjpeg:
    """One camera's finished pictures, drawn once for all who watch.

    Args:
        feed: of the camera.
        palette, classes: see `Renderer`.

    Attributes:
        drawn: pictures that were made so far.
    """

    def __init__(self, feed: Feed, palette: str, classes: ClassSet) -> None:
        self.drawn = 0
        self._feed = feed
        self._renderer = Renderer(palette, hud=False, classes=classes)
        # A renderer serves one thread at a time.
        self._turn = asyncio.Lock()
        self._made_of: tuple[Result | None, CameraState | None] | None = None
        self._jpeg: bytes | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI: pictures until the other side goes away."""
        kind = b"multipart/x-mixed-replace; boundary=" + _BOUNDARY
        headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        if scope["method"] == "HEAD":
            await send({"type": "http.response.body", "body": b""})
            return
        gone = asyncio.ensure_future(_disconnected(receive))
        pictures = asyncio.ensure_future(self._send_all(send))
        try:
            await asyncio.wait((gone, pictures), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for job in (gone, pictures):
                job.cancel()
            ends = await asyncio.gather(gone, pictures, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, OSError):
                raise end  # a fault of ours, for the log; a viewer that is gone is none

    async def _send_all(self, send: Send) -> None:
        news = asyncio.Event()
        self._feed.watch(news)
        try:
            while True:
                timer = asyncio.get_running_loop().call_later(_REPEAT_S, news.set)
                try:
                    await news.wait()
                finally:
                    timer.cancel()
                news.clear()
                jpeg = await self._newest()
                if jpeg is not None:
                    await send(
                        {"type": "http.response.body", "body": _part(jpeg), "more_body": True}
                    )
        finally:
            self._feed.unwatch(news)

    async def _newest(self) -> bytes | None:
        async with self._turn:
            station = self._feed.station
            state = None if station.state is None else station.state.state
            wanted = (self._feed.newest, state)
            if wanted != self._made_of:
                self._jpeg = await asyncio.to_thread(self._draw)
                self._made_of = wanted
            return self._jpeg

    def _draw(self) -> bytes | None:
        picture = self._feed.station.picture(self._render)
        if picture is None:
            return None
        self.drawn += 1
        return as_jpeg(picture, _QUALITY)

    def _render(self, result: Result) -> Image:
        return self._renderer(result.frame.image_bgr, result.label_map, left_out=result.left_out)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _part(jpeg: bytes) -> bytes:
    head = b"--%s\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
    return b"".join((head % (_BOUNDARY, len(jpeg)), jpeg, b"\r\n"))
