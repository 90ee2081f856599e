"""A source that comes back: the supervisor around `open_source`.

    connecting --> live <--> stalled          nothing came for the stall timeout
         ^           |          |
         |           v          v
      waiting <---- lost <------+             with a reason, see `LossReason`

Two threads a camera. The reader opens the source, reads it, closes it, and puts frames into the
mailbox; it alone touches the source. The supervisor watches it and decides what comes next. A
reader that does not return from a driver is left behind (closing the source under it could crash
the process) and counted; a new one takes over, and whatever the old one still brings is ignored.

Sizes and rates may differ with every connection. Frame numbers and times go on.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import replace

from roadseg.core.errors import RoadsegError, UsageError
from roadseg.core.types import Frame
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.config import SourceConfig
from roadseg.live.events import CameraState, LossReason, StateChange
from roadseg.live.mailbox import Mailbox
from roadseg.live.pace import Admission, Backoff
from roadseg.live.reasons import reason_of
from roadseg.media.redaction import redact_text
from roadseg.media.sources.base import Source, SourceInfo
from roadseg.media.sources.opening import open_source

__all__ = ["Camera", "CameraListener", "open_configured"]

_LOG = logging.getLogger("roadseg.live")

# Sources keep their own time limits; what is over by half is stuck and will not return by itself.
_STUCK = 1.5

# A thread that is stuck in a driver may hold its memory and its device for ever.
_MOST_STUCK = 4

# A connection that held for so long was no accident.
_STEADY_S = 10.0

_STOP_GRACE_S = 2.0


def open_configured(config: SourceConfig) -> Source:
    """Open a source as its configuration says. Raises as `open_source` does."""
    return open_source(
        config.url,
        loop=config.loop,
        timeout_s=config.timeout,
        rtsp_transport=config.rtsp_transport,
        stream=config.stream,
    )


class CameraListener:
    """What a camera reports; the methods do nothing here, and must not block."""

    def changed(self, change: StateChange) -> None:
        """The camera has come into another state. Called by its supervisor."""

    def opened(self, info: SourceInfo) -> None:
        """A connection stands; size and rate may be others than before. Called by the reader."""

    def arrived(self, frame: Frame) -> None:
        """A frame has left the source. Called by the reader, before the mailbox gets it."""


class _Connection:
    """One attempt: a thread that opens, reads and closes a source.

    Attributes:
        busy_since_s: since when the thread waits for the source; None while it hands a frame on.
        frames: read so far.
        began_s: when the first one came.
        stalled: the supervisor wants to hear of the next frame.
        error: why it ended; None for the end of a file.
        ended: the source is closed and the thread about to return.
        abandoned: nobody listens to it any more.
    """

    def __init__(self, number: int, now_s: float) -> None:
        self.number = number
        self.info: SourceInfo | None = None
        self.busy_since_s: float | None = now_s
        self.began_s: float | None = None
        self.frames = 0
        self.error: BaseException | None = None
        self.ended = False
        self.abandoned = False
        self.stalled = False
        self.thread: threading.Thread | None = None


class Camera:
    """One source under supervision.

    Args:
        config: what to open and how long to wait for it.
        mailbox: gets the frames; closed when the camera ends.
        listener: is told what happens.
        opener: opens the source; raises `SourceError`.
        on_error: gets an error that no new attempt can help: a usage error.
        clock: for all waiting.
        backoff: waits between attempts.

    Attributes:
        last: the latest change of state; None before `start`.
        info: of the latest connection.
        connects: connections that gave a picture.
        ended: set when no more frames will come: stopped, or a file is over.
    """

    def __init__(
        self,
        config: SourceConfig,
        mailbox: Mailbox,
        listener: CameraListener | None = None,
        *,
        opener: Callable[[SourceConfig], Source] = open_configured,
        on_error: Callable[[BaseException], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
        backoff: Backoff | None = None,
    ) -> None:
        self.config = config
        self.mailbox = mailbox
        self.last: StateChange | None = None
        self.info: SourceInfo | None = None
        self.connects = 0
        self.ended = threading.Event()
        self._listener = listener or CameraListener()
        self._opener = opener
        self._on_error = on_error
        self._clock = clock
        self._backoff = backoff or Backoff(config.retry_first, config.retry_most)
        self._turn = threading.Condition()
        self._stopping = False
        self._left_behind: list[_Connection] = []
        self._attempts = 0
        self._told: set[tuple[CameraState, LossReason | None]] = set()
        self._next_index = 0
        self._origin_s: float | None = None
        self._last_time_s = -1.0
        self._thread = threading.Thread(
            target=self._supervise, name=f"roadseg-camera-{config.name}", daemon=True
        )

    def start(self) -> None:
        """Begin; returns at once, whether or not the source is there."""
        self._thread.start()

    def stop(self) -> None:
        """Read no more; any thread may call this. `join` waits for it."""
        self.mailbox.close()
        with self._turn:
            self._stopping = True
            self._turn.notify_all()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait for the supervisor; whether it has ended. A stuck reader is not waited for."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    @property
    def stuck(self) -> int:
        """Threads that were left behind and have not come back yet."""
        with self._turn:
            return sum(1 for connection in self._left_behind if not connection.ended)

    # The supervisor.

    def _supervise(self) -> None:
        try:
            while not self._stopping and self._await_room():
                lost = self._attempt()
                if lost is None or self._stopping:
                    break
                wait_s = self._backoff.next_s()
                waiting = self._change(CameraState.WAITING, lost, retry_s=wait_s)
                self._wait(lambda: self._stopping, waiting.time_s + wait_s)
        finally:
            self.mailbox.close()
            self.ended.set()

    def _attempt(self) -> LossReason | None:
        """Connect and watch over the connection until it is lost.

        Returns:
            Why it was lost; None if there is to be no other attempt.
        """
        connecting = self._change(CameraState.CONNECTING)
        connection = _Connection(self._attempts, connecting.time_s)
        self._attempts += 1
        connection.thread = threading.Thread(
            target=self._read, args=(connection,), name=f"roadseg-read-{self.config.name}"
        )
        connection.thread.daemon = True
        connection.thread.start()
        self._watch(connection)
        if connection.ended:
            connection.thread.join()
        else:
            with self._turn:
                connection.abandoned = True
                self._left_behind.append(connection)
        if self._stopping:
            return None
        return self._judge(connection)

    def _watch(self, connection: _Connection) -> None:
        """Follow a connection, through live and stalled, until it ends or is given up."""
        state = CameraState.CONNECTING
        while True:
            with self._turn:
                wanted, due_s = self._look(connection, state)
                if wanted is state:
                    if connection.ended or due_s is None:
                        return
                    if not self._stopping:
                        self._clock.wait_until(self._turn, due_s)
                        continue
            if wanted is state:
                self._wait(lambda: connection.ended, self._clock() + _STOP_GRACE_S)
                return
            state = wanted
            self._change(state)

    def _look(
        self, connection: _Connection, state: CameraState
    ) -> tuple[CameraState, float | None]:
        """What a connection's state is, and when to look again; None when it is given up."""
        stall_s, stuck_s = self.config.stall_timeout, _STUCK * self.config.timeout
        now_s, since_s = self._clock(), connection.busy_since_s
        silent_s = 0.0 if since_s is None else now_s - since_s
        if not connection.frames:
            wanted, limit_s = CameraState.CONNECTING, stuck_s
        elif state is CameraState.CONNECTING or connection.ended or silent_s < stall_s:
            # Also where it was over before anybody looked.
            wanted, limit_s = CameraState.LIVE, stall_s
        else:
            wanted, limit_s = CameraState.STALLED, stuck_s
        if connection.ended and state is not CameraState.CONNECTING:
            wanted = state
        connection.stalled = wanted is CameraState.STALLED
        if silent_s >= stuck_s and wanted is state:
            return wanted, None
        return wanted, (now_s if since_s is None else since_s) + limit_s

    def _judge(self, connection: _Connection) -> LossReason | None:
        """Report a connection that is over, and say whether to try again."""
        config, error = self.config, connection.error
        began_s = connection.began_s
        if began_s is not None and self._clock() - began_s >= _STEADY_S:
            self._backoff.reset()
        if connection.abandoned:
            message = f"{config.shown}: no picture for {_STUCK * config.timeout:g} s"
            self._change(CameraState.LOST, LossReason.TIMEOUT, message)
            return LossReason.TIMEOUT
        is_file = config.is_file if connection.info is None else connection.info.kind != "live"
        if error is None:
            # A live source that simply says that it is over may come back.
            self._change(CameraState.LOST, LossReason.ENDED)
            return None if is_file else LossReason.ENDED
        if isinstance(error, UsageError) and self._on_error is not None:
            self._on_error(error)
            return None
        since_s = connection.busy_since_s
        silent = since_s is not None and self._clock() - since_s >= 0.9 * config.timeout
        opened = connection.info is not None
        why = reason_of(error, config.url, opened=opened, silent=silent)
        known = isinstance(error, RoadsegError)
        message = str(error) if known else f"{config_name(config)}: {type(error).__name__}"
        self._change(CameraState.LOST, why, redact_text(message, (config.url,)))
        return None if is_file else why

    def _await_room(self) -> bool:
        """Wait while too many readers are stuck; false if the camera is to stop."""
        if self.stuck >= _MOST_STUCK:
            message = f"{_MOST_STUCK} threads wait for {config_name(self.config)} and do not return"
            self._change(CameraState.WAITING, LossReason.TIMEOUT, message)
            self._wait(lambda: self._stopping or self.stuck < _MOST_STUCK, None)
        with self._turn:
            self._left_behind = [each for each in self._left_behind if not each.ended]
        return not self._stopping

    def _wait(self, done: Callable[[], bool], due_s: float | None) -> None:
        with self._turn:
            while not done() and (due_s is None or self._clock() < due_s):
                self._clock.wait_until(self._turn, due_s)

    def _change(
        self,
        state: CameraState,
        reason: LossReason | None = None,
        message: str = "",
        retry_s: float | None = None,
    ) -> StateChange:
        now_s = self._clock()
        if state is CameraState.LIVE:
            self._told.clear()
        repeated = (state, reason) in self._told
        self._told.add((state, reason))
        change = StateChange(
            now_s, time.time(), self.config.name, state, reason, message, retry_s, repeated
        )
        self.last = change
        level = logging.WARNING if state is CameraState.LOST else logging.INFO
        _LOG.log(logging.DEBUG if repeated else level, "%s", change)
        self._listener.changed(change)
        return change

    # The reader.

    def _read(self, connection: _Connection) -> None:
        try:
            with self._opener(self.config) as source:
                self._deliver_all(connection, source)
                self._busy(connection)
        except RoadsegError as exc:
            connection.error = exc
        except Exception as exc:  # noqa: BLE001  (logged; one camera shall not end the others)
            text = redact_text(traceback.format_exc(), (self.config.url,))
            _LOG.error("%s: reading failed unexpectedly\n%s", self.config.name, text)
            connection.error = exc
        finally:
            with self._turn:
                connection.ended = True
                self._turn.notify_all()

    def _deliver_all(self, connection: _Connection, source: Source) -> None:
        config, info = self.config, source.info
        with self._turn:
            if connection.abandoned:
                return
            connection.info = self.info = info
        self._listener.opened(info)
        live = info.kind == "live"
        self.mailbox.every = config.policy == "every" or (config.policy == "auto" and not live)
        wanted = Admission(config.stride, config.max_fps)
        lost = warned = 0
        first_index, offset_s = self._next_index, 0.0
        while True:
            self._busy(connection)
            frame = source.read()
            with self._turn:
                if connection.abandoned or self._stopping:
                    return
                connection.busy_since_s = None
                if frame is not None:
                    connection.frames += 1
                    if connection.frames == 1:
                        connection.began_s = self._clock()
                        self.connects += 1
                # The supervisor sleeps while frames come as they should.
                if connection.frames == 1 or connection.stalled:
                    self._turn.notify_all()
            if source.frames_lost > lost:
                self.mailbox.lose(source.frames_lost - lost)
                lost = source.frames_lost
            for warning in source.warnings[warned:]:
                _LOG.warning("%s: %s", config.name, redact_text(warning, (config.url,)))
                warned += 1
            if frame is None:
                return
            if connection.frames == 1:
                offset_s = self._offset_s(frame)
            if first_index or offset_s:
                frame = replace(
                    frame, index=frame.index + first_index, time_s=frame.time_s + offset_s
                )
            self._next_index, self._last_time_s = frame.index + 1, frame.time_s
            self._listener.arrived(frame)
            if not wanted(frame):
                self.mailbox.skip()
            elif not self.mailbox.put(frame):
                return

    def _offset_s(self, first: Frame) -> float:
        """What to add to the times of a connection, so that they go on from the one before."""
        if self._origin_s is None:
            self._origin_s = first.captured_s - first.time_s
            return 0.0
        offset_s = first.captured_s - first.time_s - self._origin_s
        return max(offset_s, self._last_time_s + 1e-3 - first.time_s)

    def _busy(self, connection: _Connection) -> None:
        connection.busy_since_s = self._clock()


def config_name(config: SourceConfig) -> str:
    """The source for people: its name, and what it reads, without passwords."""
    return config.name if config.name == config.shown else f"{config.name} ({config.shown})"
