"""The thread that opens, reads and closes a source, once: it alone touches it.

Whoever starts it looks at what it has come to (`Reader.busy_since_s`, `ended`) and may turn away
(`abandoned`), but never takes the source from it: closing one under a read can crash the process.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable
from dataclasses import replace

from roadseg.core.errors import RoadsegError
from roadseg.core.types import Frame
from roadseg.live.clock import Clock
from roadseg.live.config import SourceConfig
from roadseg.live.events import StateChange
from roadseg.live.mailbox import Mailbox
from roadseg.live.pace import Admission
from roadseg.media.redaction import redact_text
from roadseg.media.sources.base import Source, SourceInfo

__all__ = ["CameraListener", "Numbering", "Reader"]

_LOG = logging.getLogger("roadseg.live")


class CameraListener:
    """What a camera reports; the methods do nothing here, and must not block."""

    def changed(self, change: StateChange) -> None:
        """The camera has come into another state. Called by its supervisor."""

    def opened(self, info: SourceInfo) -> None:
        """A connection stands; size and rate may be others than before. Called by the reader."""

    def arrived(self, frame: Frame) -> None:
        """A frame has left the source. Called by the reader, before the mailbox gets it."""


class Numbering:
    """Numbers and times of frames that go on from one connection to the next."""

    def __init__(self) -> None:
        self._next_index = 0
        self._origin_s: float | None = None
        self._last_time_s = -1.0
        self._first_index = 0
        self._offset_s = 0.0

    @property
    def count(self) -> int:
        """Frames so far, those that the source itself left out as well."""
        return self._next_index

    def begin(self, first: Frame) -> None:
        """A connection begins with this frame."""
        self._first_index = self._next_index
        started_s = first.captured_s - first.time_s
        if self._origin_s is None:
            self._origin_s = started_s
        else:
            # At least a millisecond later, whatever the clocks say.
            least_s = self._last_time_s + 1e-3 - first.time_s
            self._offset_s = max(started_s - self._origin_s, least_s)

    def go_on(self, frame: Frame) -> Frame:
        """The frame with its number and time since the very first connection."""
        if self._first_index or self._offset_s:
            frame = replace(
                frame,
                index=frame.index + self._first_index,
                time_s=frame.time_s + self._offset_s,
            )
        self._next_index, self._last_time_s = frame.index + 1, frame.time_s
        return frame


class Reader(threading.Thread):
    """One connection to a source.

    Args:
        config: what to open, and which frames are wanted.
        opener: opens it.
        mailbox: gets the frames.
        listener: is told of them.
        numbering: of the camera.
        turn: held while attributes change; notified when the supervisor has to look.
        clock: stamps.

    Attributes:
        info: of the source; None while it is being opened.
        busy_since_s: since when the thread waits for the source; None while it hands a frame on.
        frames: read so far.
        began_s: when the first one came.
        stalled: set by the supervisor, which then wants to hear of the next frame.
        error: why it ended; None for the end of a file.
        ended: the source is closed and the thread about to return.
        abandoned: set by the supervisor; what comes now is ignored.
    """

    def __init__(
        self,
        config: SourceConfig,
        opener: Callable[[SourceConfig], Source],
        mailbox: Mailbox,
        listener: CameraListener,
        numbering: Numbering,
        turn: threading.Condition,
        clock: Clock,
    ) -> None:
        # Daemon: should a driver never return, the program can still end.
        super().__init__(name=f"roadseg-read-{config.name}", daemon=True)
        self.info: SourceInfo | None = None
        self.busy_since_s: float | None = clock()
        self.frames = 0
        self.began_s: float | None = None
        self.stalled = False
        self.error: BaseException | None = None
        self.ended = False
        self.abandoned = False
        self._source: Source | None = None
        self._config = config
        self._opener = opener
        self._mailbox = mailbox
        self._listener = listener
        self._numbering = numbering
        self._turn = turn
        self._clock = clock

    @property
    def silent_since_s(self) -> float | None:
        """Since when the source owes something; None while it does not. A file that plays like a
        camera owes a picture when its time has come, which may be in an hour."""
        since_s, due_s = self.busy_since_s, getattr(self._source, "due_s", None)
        return since_s if since_s is None or due_s is None else max(since_s, due_s)

    def run(self) -> None:
        """Read until the source ends, fails, or nobody listens any more."""
        try:
            with self._opener(self._config) as source:
                self._source = source
                self._deliver_all(source)
                self.busy_since_s = self._clock()  # closing may hang, too
        except RoadsegError as exc:
            self.error = exc
        except Exception as exc:  # noqa: BLE001  (logged; one camera shall not end the others)
            text = redact_text(traceback.format_exc(), (self._config.url,))
            _LOG.error("%s: reading failed unexpectedly\n%s", self._config.name, text)
            self.error = exc
        finally:
            with self._turn:
                self.ended = True
                self._turn.notify_all()

    def _deliver_all(self, source: Source) -> None:
        config, mailbox, live = self._config, self._mailbox, source.info.kind == "live"
        with self._turn:
            if self.abandoned:
                return
            self.info = source.info
        self._listener.opened(source.info)
        mailbox.every = config.policy == "every" or (config.policy == "auto" and not live)
        wanted = Admission(config.stride, config.max_fps)
        damaged = warned = 0
        while True:
            self.busy_since_s = self._clock()
            frame = source.read()
            if not self._came(frame):
                return
            if source.frames_lost > damaged:
                mailbox.lose(source.frames_lost - damaged)
                damaged = source.frames_lost
            for warning in source.warnings[warned:]:
                _LOG.warning("%s: %s", config.name, redact_text(warning, (config.url,)))
                warned += 1
            if frame is None:
                return
            if self.frames == 1:
                self._numbering.begin(frame)
            frame = self._numbering.go_on(frame)
            self._listener.arrived(frame)
            if not wanted(frame):
                mailbox.skip()
            elif not mailbox.put(frame):
                return
            if config.max_frames is not None and self._numbering.count >= config.max_frames:
                return

    def _came(self, frame: Frame | None) -> bool:
        """Note that `read` has returned; whether anybody still listens."""
        with self._turn:
            if self.abandoned:
                return False
            self.busy_since_s = None
            if frame is not None:
                self.frames += 1
                if self.frames == 1:
                    self.began_s = self._clock()
            # The supervisor sleeps while frames come as they should.
            if self.frames == 1 or self.stalled:
                self._turn.notify_all()
            return True
