"""One camera as everybody else sees it: its newest result, its state and its figures.

Every attribute may be read from any thread. Nothing here waits for anybody.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

from roadseg.core.geometry import LabelMap
from roadseg.core.types import Frame, Image
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.config import SourceConfig
from roadseg.live.events import (
    CameraState,
    HealthEvent,
    RecordChange,
    RoadEvent,
    StateChange,
)
from roadseg.live.health import HealthMonitor
from roadseg.live.lost_picture import lost_picture
from roadseg.live.mailbox import Bell, Mailbox
from roadseg.live.outputs import Output, Result
from roadseg.live.rates import Ages, Rate, Tally
from roadseg.live.reader import CameraListener
from roadseg.live.slot import Slot
from roadseg.media.sources.base import SourceInfo
from roadseg.video.reading import Read, Reader

if TYPE_CHECKING:
    from roadseg.road.doubt import Scores

__all__ = ["LiveEvent", "Station"]

LiveEvent: TypeAlias = StateChange | HealthEvent | RoadEvent | RecordChange

_LOG = logging.getLogger("roadseg.live")

# Results in a row that came too late: a network that was compiled in between is not to blame.
_TOO_SLOW = 10

# What the list on a page shows; what is older is in the log.
_EVENTS_KEPT = 500

_GIVES_PICTURES = (CameraState.LIVE, CameraState.STALLED)


class Station(CameraListener):
    """Holds what is known of one camera, and passes results on.

    Args:
        config: of the source.
        bell: of the scheduler.
        reader: reads every frame that has labels, and hides what nobody may see before anybody
            gets it; used by the scheduler's thread. None where nothing is asked for.
        on_event: gets every change of state and every event of the picture; must not block.
        clock: stamps and meters.

    Attributes:
        name: of the source.
        mailbox: between the camera and the scheduler.
        tally: where the frames went.
        arrivals, shows: rates of frames from the camera, and of results.
        ages: from the camera to the result, in seconds.
        newest: the latest result; None before the first.
        state: the latest change; None before the start.
        loss: the latest loss, until there are pictures again; None for none.
        info: size, rate and more of the latest connection.
        events: the latest ones, oldest first, without those that repeat themselves.
        health: what is wrong with the picture now.
        outputs: those that are on.
        reader: as given.
    """

    def __init__(
        self,
        config: SourceConfig,
        bell: Bell,
        *,
        reader: Reader | None = None,
        on_event: Callable[[LiveEvent], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.name = config.name
        self.reader = reader
        self.config = config
        self.tally = Tally()
        self.mailbox = Mailbox(
            bell, max_staleness_s=config.max_staleness, tally=self.tally, clock=clock
        )
        self.arrivals = Rate(clock)
        self.shows = Rate(clock)
        self.ages = Ages(clock)
        self.newest: Result | None = None
        self.state: StateChange | None = None
        self.loss: StateChange | None = None
        self.info: SourceInfo | None = None
        self.events: deque[LiveEvent] = deque(maxlen=_EVENTS_KEPT)
        self.outputs: tuple[Output, ...] = ()
        self._last_picture: Image | None = None
        self._going_on: dict[str, RoadEvent] = {}
        # Frames that the reader holds, and that were too late when they came to it.
        self._late: set[int] = set()
        self._late_in_a_row = 0
        self._dark_since_s = float("-inf")
        self._clock = clock
        self._dark_since_wall_s = time.time()
        self._on_event = on_event
        self._watchers: tuple[Slot[Result], ...] = ()
        # Frames and changes of state come from two threads.
        self._lock = threading.RLock()
        self._monitor = HealthMonitor(config.name, config.health, self.note, self._wall)

    # What the camera reports.

    def changed(self, change: StateChange) -> None:
        """See `CameraListener.changed`."""
        with self._lock:
            was_on = self.state is None or self.state.state in _GIVES_PICTURES
            is_on = change.state in _GIVES_PICTURES
            if was_on and not is_on:
                self._dark_since_s, self._dark_since_wall_s = change.time_s, change.wall_s
            if is_on:
                self.loss = None
            elif change.state is CameraState.LOST:
                self.loss = change
            self.state = change
            self.note(change)
            if change.state is CameraState.LIVE:
                self._monitor.online(change.time_s)
            elif change.state is not CameraState.CONNECTING and self._is_camera:
                self._monitor.offline(change.time_s)

    def opened(self, info: SourceInfo) -> None:
        """See `CameraListener.opened`."""
        self.info = info
        self.arrivals.restart()

    def arrived(self, frame: Frame) -> None:
        """See `CameraListener.arrived`."""
        self.arrivals.count()
        if self.reader is None:
            self._last_picture = frame.image_bgr
        if self.config.watch_health and self._is_camera:
            with self._lock:
                self._monitor.look(frame)

    @property
    def _is_camera(self) -> bool:
        """Files end and stand still, and nothing is wrong with that."""
        info = self.info
        return not self.config.is_file if info is None else info.kind == "live"

    # What the scheduler brings.

    @property
    def ready(self) -> bool:
        """See `Lane.ready`."""
        return not self.mailbox.every or all(output.ready for output in self.outputs)

    def show(self, frame: Frame, label_map: LabelMap, scores: Scores | None = None) -> None:
        """See `Lane.show`. A result that has become too old in the network is dropped as late."""
        late = self._is_late(frame)
        if self.reader is None:
            if not late:
                self._show(frame, label_map, None)
            return
        if late:
            self._late.add(frame.index)
        for read in self.reader.push(frame, label_map, scores):
            held_back = read.frame.index != frame.index and not self.mailbox.every
            stale = held_back and read.frame.captured_s < self._dark_since_s
            if stale and read.frame.index not in self._late:
                self.tally.drop("late")  # its next one came after the camera had been away
            else:
                self._show_read(read)

    def finish(self) -> None:
        """Show what the reader still holds, after the last frame. Raises as its `close`."""
        if self.reader is None:
            return
        for read in self.reader.flush():
            self._show_read(read)
        self.reader.close()

    def _is_late(self, frame: Frame) -> bool:
        now_s = self._clock()
        if not self.mailbox.is_late(frame, now_s):
            self._late_in_a_row = 0
            return False
        self.tally.drop("late")
        self._late_in_a_row += 1
        if self._late_in_a_row == _TOO_SLOW:
            _LOG.warning(
                "%s: nothing is shown: results are %.2f s old when the network has finished, "
                "and max_staleness is %g; take a faster network, or raise it",
                self.name,
                now_s - frame.captured_s,
                self.config.max_staleness,
            )
        return True

    def _show_read(self, read: Read) -> None:
        """Show what the reader gives, unless its frame came out of the network too late."""
        if read.frame.index in self._late:
            self._late.remove(read.frame.index)
        else:
            self._show(read.frame, read.label_map, read)

    def _show(self, frame: Frame, label_map: LabelMap, read: Read | None) -> None:
        now_s = self._clock()
        if read is not None:
            self._watch_road(read)
        lines = () if read is None or self.reader is None else self.reader.hud_lines(read)
        result = Result(frame, label_map, self.tally.shown, now_s, read, lines)
        self.newest = result
        if self.reader is not None:
            self._last_picture = frame.image_bgr
        self.tally.shown += 1
        self.shows.count()
        self.ages.add(result.age_s)
        info = self.info
        for output in self.outputs:
            assert info is not None
            output.put(result, info, replaces=not self.mailbox.every)
        for slot in self._watchers:
            slot.put(result)

    # What viewers use.

    @property
    def health(self) -> tuple[HealthEvent, ...]:
        """What is wrong now."""
        with self._lock:
            return tuple(self._monitor.active.values())

    def recent_events(self) -> list[LiveEvent]:
        """A copy of `events`, whatever comes meanwhile."""
        with self._lock:
            return list(self.events)

    def watch(self, wake: Callable[[], None] | None = None) -> Slot[Result]:
        """A slot that gets every new result from now on, until `unwatch`."""
        slot: Slot[Result] = Slot(wake)
        with self._lock:
            self._watchers = (*self._watchers, slot)
        return slot

    def unwatch(self, slot: Slot[Result]) -> None:
        """Give a slot back; a second call does nothing."""
        with self._lock:
            self._watchers = tuple(each for each in self._watchers if each is not slot)
        slot.close()

    @property
    def too_slow(self) -> bool:
        """Whether results have come too late for a while, so that nothing is shown."""
        return self._late_in_a_row >= _TOO_SLOW

    @property
    def gives_pictures(self) -> bool:
        """Whether the camera is there, as far as is known."""
        return self.state is None or self.state.state in _GIVES_PICTURES

    @property
    def dark_since_wall_s(self) -> float | None:
        """Since when the camera has given no picture, by `time.time()`; None while it does."""
        with self._lock:
            return None if self.gives_pictures else self._dark_since_wall_s

    def picture(self, render: Callable[[Result], Image]) -> Image | None:
        """What to show of this camera now: the newest result, or why there is none.

        Args:
            render: makes the picture of a result; called only if there is a live one.

        Returns:
            None while the first picture is on its way.
        """
        with self._lock:
            state, loss, since_wall_s = self.state, self.loss, self._dark_since_wall_s
        if state is None or state.state in _GIVES_PICTURES:
            return None if self.newest is None else render(self.newest)
        if self._last_picture is None and state.state is CameraState.CONNECTING:
            return None
        if loss is not None:
            # Also while the next attempt is on its way.
            state = replace(state, reason=loss.reason)
        return lost_picture(self._last_picture, state, since_wall_s)

    def add_output(self, output: Output) -> None:
        """Let an output have every result from now on."""
        with self._lock:
            self.outputs = (*self.outputs, output)

    def remove_output(self, output: Output) -> None:
        """Hand it nothing more; finishing it is up to the caller."""
        with self._lock:
            self.outputs = tuple(each for each in self.outputs if each is not output)

    def pause(self) -> None:
        """Drop frames, counted as paused; files wait."""
        self.mailbox.pause()

    def resume(self) -> None:
        """Show frames again."""
        self.mailbox.resume()

    def close(self) -> None:
        """Let go of everybody who watches."""
        for slot in self._watchers:
            self.unwatch(slot)

    def note(self, event: LiveEvent) -> None:
        """Put an event on the list, and pass it on. Any thread may call this."""
        with self._lock:
            if not (isinstance(event, StateChange) and event.repeated):
                self.events.append(event)
        if self._on_event is not None:
            self._on_event(event)

    def _watch_road(self, read: Read) -> None:
        """Note which events of rules have begun and ended."""
        now_s = self._clock()
        for name in read.events:
            if name not in self._going_on:
                self._going_on[name] = RoadEvent(self.name, name, now_s, self._wall(now_s))
                self.note(self._going_on[name])
        for name in [each for each in self._going_on if each not in read.events]:
            self.note(replace(self._going_on.pop(name), ended_s=now_s))

    def _wall(self, time_s: float) -> float:
        return time.time() - (self._clock() - time_s)
