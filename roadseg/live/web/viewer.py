"""One viewer: a WebSocket with frames as binary messages, and JSON for the rest.

From the page:
    {"type": "watch", "cameras": {"0": 0, "3": 1}}   cameras, and the best rung that is of use
    {"type": "ack", "camera": 0, "number": 17}       that frame has been drawn
    {"type": "clock", "sent": 12.3, "rtt": 0.004}    answered at once with the server's time
    {"type": "record", "camera": 0, "on": true}
To the page: `hello` first, `status` once a second, `clock`, `error`, and frames (`message.py`).
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Sequence
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from roadseg.core.errors import RoadsegError
from roadseg.live.clock import Clock
from roadseg.live.events import CameraState
from roadseg.live.web.feed import Feed
from roadseg.live.web.gate import cut
from roadseg.live.web.ladder import Ladder
from roadseg.live.web.message import RUNGS
from roadseg.live.web.recordings import Recorder, on_disk
from roadseg.live.web.status import StatusBoard

MAX_MESSAGE_BYTES = 16 * 1024
"""The largest message that a viewer may send."""

# Without an acknowledgement for so long, a viewer is gone.
_ACKNOWLEDGE_S = 20.0

_STATUS_S = 1.0

# Messages a second that no page needs: cameras at 60 frames each, and more.
_MOST_MESSAGES = 200
_MOST_MESSAGES_PER_CAMERA = 120

_DEFAULT_DUE_S = 0.04

# Starts and stops of recordings that may wait for the disk.
_MOST_WISHES = 8


class _Refused(Exception):
    """What a viewer sends makes no sense."""


class Counts:
    """What was sent to all viewers so far."""

    def __init__(self) -> None:
        self.frames = 0
        self.bytes = 0
        self.refused = 0


class Viewer:
    """Serves one WebSocket until either side has enough.

    Args:
        socket: accepted already.
        feeds: of all cameras.
        board: for the figures.
        hello: the first message.
        counts: added to.
        recorder: None refuses recordings.
        clock: of the stations.
    """

    def __init__(
        self,
        socket: WebSocket,
        feeds: Sequence[Feed],
        board: StatusBoard,
        hello: dict[str, Any],
        counts: Counts,
        recorder: Recorder | None,
        clock: Clock,
    ) -> None:
        self.round_trip_s = 0.0
        self.clock = clock
        self.counts = counts
        self._socket = socket
        self._feeds = feeds
        self._board = board
        self._hello = hello
        self._recorder = recorder
        self._streams: dict[int, _Stream] = {}
        self._second = 0
        self._messages = 0
        self._jobs: set[asyncio.Task[None]] = set()
        self._recorder_turn = asyncio.Lock()
        self._wishes = 0
        self._ended: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()

    async def run(self) -> None:
        """Returns when the viewer is gone, or asks for what makes no sense."""
        try:
            await self._say(self._hello)
            self._start(self._report())
            self._start(self._listen())
            while True:
                job = await self._ended.get()
                self._jobs.discard(job)
                if not job.cancelled():
                    job.result()
        except (WebSocketDisconnect, OSError):
            pass
        except _Refused as exc:
            self.counts.refused += 1
            await self._close(1008, str(exc))
        finally:
            for job in self._jobs:
                job.cancel()
            await asyncio.gather(*self._jobs, return_exceptions=True)

    async def send_frame(self, message: bytes) -> None:
        """Send a frame; waits while the connection is full."""
        await self._socket.send_bytes(message)
        self.counts.frames += 1
        self.counts.bytes += len(message)

    def give_up(self) -> None:
        """It acknowledges nothing: end the connection, which ends `run`."""
        self.counts.refused += 1
        cut(self._socket.scope.get("state", {}).get("transport"))

    def _start(self, job: Any) -> asyncio.Task[None]:
        task: asyncio.Task[None] = asyncio.get_running_loop().create_task(job)
        self._jobs.add(task)
        task.add_done_callback(self._ended.put_nowait)
        return task

    async def _say(self, message: dict[str, Any]) -> None:
        await self._socket.send_text(json.dumps(message, separators=(",", ":")))

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            await self._socket.close(code, reason)

    async def _report(self) -> None:
        known = 0
        while True:
            status = self._board.current(known)
            if status["events"]:
                known = status["events"][-1]["number"]
            await self._say(status)
            await asyncio.sleep(_STATUS_S)

    async def _listen(self) -> None:
        answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "watch": self._watch,
            "ack": self._acknowledge,
            "clock": self._tell_time,
            "record": self._record,
        }
        while True:
            event = await self._socket.receive()
            if event["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(event.get("code", 1000))
            self._count_message()
            try:
                message = json.loads(event.get("text") or "")
                await answers[message["type"]](message)
            except (
                *(AttributeError, KeyError, TypeError, ValueError, OverflowError, RecursionError),
            ) as exc:
                raise _Refused("that message makes no sense") from exc

    def _count_message(self) -> None:
        second = math.floor(self.clock())
        if second != self._second:
            self._second, self._messages = second, 0
        self._messages += 1
        if self._messages > _MOST_MESSAGES + _MOST_MESSAGES_PER_CAMERA * len(self._feeds):
            raise _Refused("too many messages")

    async def _watch(self, message: dict[str, Any]) -> None:
        wanted = {int(camera): int(rung) for camera, rung in message["cameras"].items()}
        if any(
            not (0 <= camera < len(self._feeds) and 0 <= rung < len(RUNGS))
            for camera, rung in wanted.items()
        ):
            raise _Refused("there is no such camera")
        for camera in self._streams.keys() - wanted.keys():
            self._streams.pop(camera).task.cancel()
        for camera, rung in wanted.items():
            if camera not in self._streams:
                stream = _Stream(self, self._feeds[camera], camera)
                self._streams[camera] = stream
                stream.task = self._start(stream.run())
            self._streams[camera].best_rung = rung

    async def _acknowledge(self, message: dict[str, Any]) -> None:
        stream = self._streams.get(int(message["camera"]))
        if stream is not None:
            stream.acknowledge(int(message["number"]))

    async def _tell_time(self, message: dict[str, Any]) -> None:
        sent, round_trip_s = float(message["sent"]), message.get("rtt")
        if not math.isfinite(sent):
            raise ValueError
        if round_trip_s is not None:
            # A lie costs the liar alone: pictures that are too large for its connection.
            self.round_trip_s = min(max(float(round_trip_s), 0.0), 1.0)
        await self._say({"type": "clock", "sent": sent, "server": self.clock()})

    async def _record(self, message: dict[str, Any]) -> None:
        camera, on = int(message["camera"]), bool(message["on"])
        if self._recorder is None or not 0 <= camera < len(self._feeds):
            raise _Refused("recordings are not offered here")
        name = self._feeds[camera].station.name
        act = self._recorder.start if on else self._recorder.stop
        if self._wishes >= _MOST_WISHES:
            await self._say({"type": "error", "message": "the recorder is still at work"})
        else:
            # Acknowledgements are read meanwhile: a slow disk does not stop the pictures.
            self._wishes += 1
            self._start(self._recorded(lambda: act(name)))

    async def _recorded(self, act: Callable[[], None]) -> None:
        try:
            async with self._recorder_turn:
                await on_disk(act)
        except RoadsegError as exc:
            await self._say({"type": "error", "message": str(exc)})
        finally:
            self._wishes -= 1


class _Stream:
    """One camera on its way to one viewer: the newest frame whenever the one before has arrived."""

    task: asyncio.Task[None]

    def __init__(self, viewer: Viewer, feed: Feed, camera: int) -> None:
        self.best_rung = 0
        self._viewer = viewer
        self._feed = feed
        self._camera = camera
        self._ladder = Ladder()
        self._news = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._on_its_way = -1

    async def run(self) -> None:
        self._feed.watch(self._news)
        try:
            last = -1
            while True:
                await self._news.wait()
                self._news.clear()
                if self._feed.newest is not None and self._feed.newest.number != last:
                    last = await self._send_newest()
        finally:
            self._feed.unwatch(self._news)

    def acknowledge(self, number: int) -> None:
        if number == self._on_its_way:
            self._acknowledged.set()

    async def _send_newest(self) -> int:
        encoded = await self._feed.encoded(max(self.best_rung, self._ladder.rung))
        station, clock = self._feed.station, self._viewer.clock
        state = CameraState.CONNECTING if station.state is None else station.state.state
        self._acknowledged.clear()
        self._on_its_way = encoded.number
        sent_s = clock()
        await self._viewer.send_frame(encoded.message(self._camera, state, sent_s))
        timer = asyncio.get_running_loop().call_later(_ACKNOWLEDGE_S, self._viewer.give_up)
        try:
            await self._acknowledged.wait()
        finally:
            timer.cancel()
        if encoded.rung == self._ladder.rung:
            fps = station.shows.per_s()
            due_s = 1 / fps if fps > 1 else _DEFAULT_DUE_S
            self._ladder.acknowledged(clock() - sent_s, self._viewer.round_trip_s, due_s)
        return encoded.number
