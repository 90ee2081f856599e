"""A source that comes back: the supervisor around `open_source`.

    connecting --> live <--> stalled          nothing came for the stall timeout
         ^           |          |
         |           v          v
      waiting <---- lost <------+             with a reason, see `LossReason`

Two threads a camera. The reader opens the source, reads it, closes it, and puts frames into the
mailbox; it alone touches the source. The supervisor watches it and decides what comes next. A
reader that does not return from a driver is left behind (closing the source under it could crash
the process) and counted; a new one takes over, and whatever the old one still brings is ignored.

Sizes and rates may differ with every reader. Frame numbers and times go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from fractions import Fraction

from roadseg.core.errors import RoadsegError, UsageError
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.config import SourceConfig
from roadseg.live.events import CameraState, LossReason, StateChange
from roadseg.live.mailbox import Mailbox
from roadseg.live.pace import Backoff
from roadseg.live.playing import InRealTime
from roadseg.live.reader import CameraListener, Numbering, Reader
from roadseg.live.reasons import reason_of
from roadseg.media.redaction import redact_text
from roadseg.media.sources.base import Source, SourceInfo
from roadseg.media.sources.opening import open_source

__all__ = ["Camera", "open_configured"]

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
    source = open_source(
        config.url,
        loop=config.loop,
        timeout_s=config.timeout,
        # 30000/1001 again, of 29.97.
        fps=None if config.fps is None else Fraction(config.fps).limit_denominator(1001),
        rtsp_transport=config.rtsp_transport,
        stream=config.stream,
        camera=config.camera_mode,
    )
    if config.policy == "latest" and source.info.kind != "live":
        return InRealTime(source)
    return source


class Camera:
    """One source under supervision.

    Args:
        config: what to open and how long to wait for it.
        mailbox: gets the frames; closed when the camera ends.
        listener: is told what happens.
        opener: opens the source; raises `SourceError`.
        on_error: gets an error that no new attempt can help: a usage error.
        patient: try again where the first attempt fails; else, and for files, its error goes to
            `on_error`.
        clock: for all waiting.
        backoff: waits between attempts.

    Attributes:
        last: the latest change of state; None before `start`.
        info: of the latest reader.
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
        patient: bool = True,
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
        self._patient = patient
        self._clock = clock
        self._backoff = backoff or Backoff(config.retry_first, config.retry_most)
        self._turn = threading.Condition()
        self._stopping = False
        self._left_behind: list[Reader] = []
        self._reader: Reader | None = None
        self._passed_on: BaseException | None = None
        self._numbering = Numbering()
        self._told: set[tuple[CameraState, LossReason | None]] = set()
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
            if self._reader is not None:
                self._reader.abandoned = True
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
            return sum(1 for reader in self._left_behind if not reader.ended)

    # The supervisor.

    def _supervise(self) -> None:
        try:
            while not self._stopping and self._await_room():
                lost = self._attempt()
                self._let_go()
                if lost is None or self._stopping:
                    break
                wait_s = self._backoff.next_s()
                waiting = self._change(CameraState.WAITING, lost, retry_s=wait_s)
                self._wait(lambda: self._stopping, waiting.time_s + wait_s)
        except Exception as exc:  # a camera that nobody looks after is no camera that has ended
            if self._on_error is None:
                raise
            self._pass_on(exc)
        finally:
            self.mailbox.close()
            self.ended.set()

    def _attempt(self) -> LossReason | None:
        """Connect and watch over the connection until it is lost.

        Returns:
            Why it was lost; None if there is to be no other attempt.
        """
        self._change(CameraState.CONNECTING)
        reader = Reader(
            self.config,
            self._opener,
            self.mailbox,
            self._listener,
            self._numbering,
            self._turn,
            self._clock,
        )
        with self._turn:
            self._reader = reader
            reader.abandoned = self._stopping
        reader.start()
        self._watch(reader)
        if reader.ended:
            reader.join()
        else:
            with self._turn:
                reader.abandoned = True
                self._left_behind.append(reader)
        return None if self._stopping else self._judge(reader)

    def _let_go(self) -> None:
        """Forget how the error of a connection came about: its frames hold the source, whose
        decoder has threads and memory, until somebody collects the ring of references."""
        with self._turn:
            reader, self._reader = self._reader, None
        if reader is None or reader.error is self._passed_on:
            return
        errors = [reader.error]
        while errors:
            error = errors.pop()
            # What is met again has no traceback any more.
            if error is not None and error.__traceback__ is not None:
                error.__traceback__ = None
                errors += [error.__cause__, error.__context__]

    def _watch(self, reader: Reader) -> None:
        """Follow a connection, through live and stalled, until it ends or is given up."""
        state = CameraState.CONNECTING
        while True:
            with self._turn:
                wanted, due_s = self._look(reader, state)
                if wanted is state:
                    if reader.ended or due_s is None:
                        return
                    if not self._stopping:
                        self._clock.wait_until(self._turn, due_s)
                        continue
            if wanted is state:
                self._wait(lambda: reader.ended, self._clock() + _STOP_GRACE_S)
                return
            if state is CameraState.CONNECTING:
                self.connects += 1
                self.info = reader.info
            state = wanted
            self._change(state)

    def _look(self, reader: Reader, state: CameraState) -> tuple[CameraState, float | None]:
        """What the state of a connection is, and when to look again; None when it is given up."""
        stall_s, stuck_s = self.config.stall_timeout, _STUCK * self.config.timeout
        now_s, since_s = self._clock(), reader.silent_since_s
        silent_s = 0.0 if since_s is None else now_s - since_s
        if not reader.frames:
            wanted, limit_s = CameraState.CONNECTING, stuck_s
        elif state is CameraState.CONNECTING or reader.ended or silent_s < stall_s:
            # Also where it was over before anybody looked.
            wanted, limit_s = CameraState.LIVE, stall_s
        else:
            wanted, limit_s = CameraState.STALLED, stuck_s
        if reader.ended and state is not CameraState.CONNECTING:
            wanted = state
        reader.stalled = wanted is CameraState.STALLED
        if silent_s >= stuck_s and wanted is state:
            return wanted, None
        return wanted, (now_s if since_s is None else since_s) + limit_s

    def _judge(self, reader: Reader) -> LossReason | None:
        """Report a connection that is over, and say whether to try again."""
        config, error = self.config, reader.error
        began_s = reader.began_s
        if began_s is not None and self._clock() - began_s >= _STEADY_S:
            self._backoff.reset()
        if reader.abandoned:
            message = f"{config.shown}: no picture for {_STUCK * config.timeout:g} s"
            self._change(CameraState.LOST, LossReason.TIMEOUT, message)
            return LossReason.TIMEOUT
        is_file = config.is_file if reader.info is None else reader.info.kind != "live"
        if error is None and config.max_frames is not None:
            is_file = is_file or self._numbering.count >= config.max_frames
        if error is None:
            # A live source that simply says that it is over may come back.
            level = logging.INFO if is_file else logging.WARNING
            self._change(CameraState.LOST, LossReason.ENDED, level=level)
            return None if is_file else LossReason.ENDED
        if isinstance(error, UsageError) and self._on_error is not None:
            self._pass_on(error)
            return None
        since_s = reader.silent_since_s
        silent = since_s is not None and self._clock() - since_s >= 0.9 * config.timeout
        opened = reader.info is not None
        why = reason_of(error, config.url, opened=opened, silent=silent)
        known = isinstance(error, RoadsegError)
        message = str(error) if known else f"{config_name(config)}: {type(error).__name__}"
        message = redact_text(message, (config.url,))
        if known and not self.connects and (is_file or not self._patient):
            # What ends the run is said by whoever catches it.
            level = logging.WARNING if self._on_error is None else logging.DEBUG
            self._change(CameraState.LOST, why, message, level=level)
            self._pass_on(error)
            return None
        self._change(CameraState.LOST, why, message)
        return None if is_file else why

    def _pass_on(self, error: BaseException) -> None:
        self._passed_on = error
        if self._on_error is not None:
            self._on_error(error)

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
        *,
        level: int | None = None,
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
        if level is None:
            level = logging.WARNING if state is CameraState.LOST else logging.INFO
        _LOG.log(logging.DEBUG if repeated else level, "%s", change)
        self._listener.changed(change)
        return change


def config_name(config: SourceConfig) -> str:
    """The source for people: its name, and what it reads, without passwords."""
    return config.name if config.name == config.shown else f"{config.name} ({config.shown})"
