"""Whether a camera sees: frozen, black, covered, too bright, out of focus, moved or offline.

A few times a second one frame is looked at, at a small size. What is wrong for about a second
becomes an event, and what is right again for a second ends it: both are known within two seconds.
Thresholds come from real drives with and without the fault; see tests/live/test_health.py.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from roadseg.core.types import Frame
from roadseg.live.events import HealthEvent, HealthKind
from roadseg.live.looks import Small, flat_share, focus, likeness, percentiles, small_grey

_LOG = logging.getLogger("roadseg.live")

_LOOK_S = 0.25

# Only cameras that have shown the same view for so long can be moved; others drive.
_FIXED_S = 5.0
# A camera is moved in a moment; a car that sets off takes longer than this to another view.
_MOVE_S = 1.0
_SETTLED_S = 0.9
_SAME_VIEW = 0.6
_OTHER_VIEW = 0.35

_SMALLEST_SIDE = 32


def _limit(default: float, wanted: str, most: float) -> float:
    value: float = field(
        default=default, metadata={"wanted": wanted, "allowed": lambda v: 0 <= v <= most}
    )
    return value


def _share(default: float) -> float:
    return _limit(default, "0 to 1", 1)


def _level(default: float) -> float:
    return _limit(default, "0 to 255", 255)


def _seconds(default: float) -> float:
    return _limit(default, "0 to 3600", 3600)


@dataclass(frozen=True)
class HealthLimits:
    """From where on something is wrong.

    Attributes:
        hold_s: seconds for which it has to be wrong before an event begins.
        clear_s: seconds for which it has to be right before the event ends.
        frozen_s: as `hold_s`, for pictures that do not change.
        frozen_change: share of the pixels that may change in a frozen picture.
        black_level: a picture whose brightest hundredth is below this level is black.
        bright_share: share of the pixels at the upper end that make it too bright.
        covered_share: share of the blocks without structure that make it covered.
        focus: a steepness of edges below this is out of focus; 0 never alarms.
        accept_s: a moved camera is taken to stay as it is after so long.
        shifted: whether to look for that at all.
    """

    hold_s: float = _seconds(1.0)
    clear_s: float = _seconds(1.0)
    frozen_s: float = _seconds(1.25)
    frozen_change: float = _share(0.001)
    black_level: float = _level(32.0)
    bright_share: float = _share(0.6)
    covered_share: float = _share(0.9)
    focus: float = _share(0.255)
    accept_s: float = _seconds(60.0)
    shifted: bool = True


class HealthMonitor:
    """Watches one camera. One thread at a time.

    Args:
        source: the camera's name.
        limits: thresholds.
        on_event: gets every event twice: when it has begun and when it has ended.
        wall: what `time.time` gives, for the events.

    Attributes:
        active: events that have not ended.
    """

    def __init__(
        self,
        source: str,
        limits: HealthLimits,
        on_event: Callable[[HealthEvent], None],
        wall: Callable[[float], float],
    ) -> None:
        self.active: dict[HealthKind, HealthEvent] = {}
        self._source = source
        self._limits = limits
        self._on_event = on_event
        self._wall = wall
        self._looked_s = -np.inf
        self._even = False
        self._latches: dict[HealthKind, _Latch] = {}
        self._small: Small | None = None
        self._view = _View(limits.accept_s)
        self._blurred = False

    def look(self, frame: Frame) -> None:
        """Take a frame into account; of most, only the time is looked at."""
        now_s = frame.captured_s
        if now_s - self._looked_s < _LOOK_S - 0.01 or min(frame.size_hw) < _SMALLEST_SIDE:
            return
        self._looked_s = now_s
        before, self._small = self._small, small_grey(frame.image_bgr)
        # The two costly measures take turns.
        self._even = not self._even
        wrong = self._wrong_light(self._small)
        if wrong is None:
            if self._even:
                sharpness = focus(frame.image_bgr)
                self._blurred = sharpness is not None and sharpness < self._limits.focus
            wrong = HealthKind.OUT_OF_FOCUS if self._blurred else None
        for kind in _LIGHT:
            self._set(kind, kind is wrong, now_s)
        if before is not None:
            # In front of a lens cap nothing could move.
            blind = wrong is not None and wrong is not HealthKind.OUT_OF_FOCUS
            frozen = not blind and self._unchanged(before, self._small)
            self._set(HealthKind.FROZEN, frozen, now_s)
        if self._limits.shifted and not self._even and wrong is None:
            self._watch_view(self._small, now_s)

    def offline(self, now_s: float) -> None:
        """No frames come any more; what was wrong with them is over."""
        for kind in list(self.active):
            if kind is not HealthKind.OFFLINE:
                self._end(kind, now_s)
        self._latches.clear()
        self._small = None
        self._begin(HealthKind.OFFLINE, now_s)

    def online(self, now_s: float) -> None:
        """Frames come again."""
        self._end(HealthKind.OFFLINE, now_s)

    def _wrong_light(self, small: Small) -> HealthKind | None:
        limits = self._limits
        if percentiles(small, 99)[0] < limits.black_level:
            return HealthKind.BLACK
        if np.count_nonzero(small >= 250) > limits.bright_share * small.size:
            return HealthKind.TOO_BRIGHT
        if flat_share(small) >= limits.covered_share:
            return HealthKind.COVERED
        return None

    def _unchanged(self, before: Small, now: Small) -> bool:
        if before.shape != now.shape:
            return False
        return bool(np.count_nonzero(before != now) <= self._limits.frozen_change * now.size)

    def _watch_view(self, small: Small, now_s: float) -> None:
        moved_s = self._view.look(small, now_s)
        if moved_s is not None:
            self._begin(HealthKind.SHIFTED, moved_s)
        elif not self._view.moved:
            self._end(HealthKind.SHIFTED, now_s)

    def _set(self, kind: HealthKind, wrong: bool, now_s: float) -> None:
        latch = self._latches.get(kind)
        if latch is None:
            hold_s = self._limits.frozen_s if kind is HealthKind.FROZEN else self._limits.hold_s
            latch = self._latches[kind] = _Latch(hold_s, self._limits.clear_s)
        since_s = latch.look(wrong, now_s)
        if since_s is not None:
            (self._begin if latch.on else self._end)(kind, since_s)

    def _begin(self, kind: HealthKind, since_s: float) -> None:
        if kind not in self.active:
            event = HealthEvent(self._source, kind, since_s, self._wall(since_s))
            self.active[kind] = event
            _LOG.warning("%s", event)
            self._on_event(event)

    def _end(self, kind: HealthKind, ended_s: float) -> None:
        event = self.active.pop(kind, None)
        if event is not None:
            event = replace(event, ended_s=ended_s)
            _LOG.info("%s", event)
            self._on_event(event)


_LIGHT = (
    HealthKind.BLACK,
    HealthKind.TOO_BRIGHT,
    HealthKind.COVERED,
    HealthKind.OUT_OF_FOCUS,
)
"""What only one of can be wrong at a time, the first that is."""


class _Latch:
    """On after `hold_s` of wrong looks, off after `clear_s` of right ones.

    One look that says otherwise does not break a row, for a frozen camera's key pictures may
    differ a little; two do.
    """

    def __init__(self, hold_s: float, clear_s: float) -> None:
        self.on = False
        self._hold_s = hold_s
        self._clear_s = clear_s
        self._since_s: float | None = None
        self._doubts = 0

    def look(self, wrong: bool, now_s: float) -> float | None:
        """One look; since when it is otherwise, if that has just become certain."""
        if wrong is self.on:
            self._doubts += 1
            if self._doubts > 1 or self._since_s is None:
                self._since_s = None
            return None
        self._doubts = 0
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s < (self._clear_s if self.on else self._hold_s):
            return None
        since_s, self._since_s = self._since_s, None
        self.on = not self.on
        return since_s


class _View:
    """Notices that a camera that stands still was moved.

    Attributes:
        moved: it looks elsewhere than it did.
    """

    def __init__(self, accept_s: float) -> None:
        self.moved = False
        self._accept_s = accept_s
        self._view: Small | None = None
        self._since_s = 0.0
        self._seen_s = 0.0
        self._other: Small | None = None
        self._other_since_s = 0.0

    def look(self, small: Small, now_s: float) -> float | None:
        """One look; since when the camera is moved, if that has just become certain."""
        if self._view is None:
            self._start(small, now_s)
            return None
        like = likeness(self._view, small)
        if like is None:
            return None
        if like >= _SAME_VIEW:
            self._seen_s, self._other, self.moved = now_s, None, False
            # The light changes in an hour; the view follows it.
            self._view = _blend(self._view, small)
            return None
        if like > _OTHER_VIEW:
            return None
        if self._other is None or (likeness(self._other, small) or 0.0) < _SAME_VIEW:
            self._other, self._other_since_s = small, now_s
        if self.moved:
            if now_s - self._other_since_s >= self._accept_s:
                self._start(small, now_s)
            return None
        fixed = self._seen_s - self._since_s >= _FIXED_S
        if not fixed or self._other_since_s - self._seen_s > _MOVE_S:
            self._start(small, now_s)
        elif now_s - self._other_since_s >= _SETTLED_S:
            self.moved = True
            return self._other_since_s
        return None

    def _start(self, small: Small, now_s: float) -> None:
        self._view, self._since_s, self._seen_s = small, now_s, now_s
        self._other, self.moved = None, False


def _blend(view: Small, small: Small) -> Small:
    """A step of a sixteenth, and of one level at least, towards the new picture."""
    change = small.astype(np.int16) - view
    step = np.sign(change) * ((np.abs(change) + 15) >> 4)
    return np.asarray(view + step, np.uint8)
