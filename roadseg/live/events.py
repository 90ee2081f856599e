"""What happens to a camera, as values: changes of its connection, and conditions of its picture."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = [
    "CameraState",
    "HealthEvent",
    "HealthKind",
    "LossReason",
    "RecordChange",
    "RoadEvent",
    "StateChange",
]


class CameraState(Enum):
    """Where the connection to a source stands."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    LOST = "lost"
    WAITING = "waiting"


class LossReason(Enum):
    """Why a source was lost."""

    REFUSED = "refused"
    NOT_FOUND = "not found"
    LOGIN = "login"
    CODEC = "codec"
    TIMEOUT = "timeout"
    PROTOCOL = "protocol"
    ENDED = "ended"


class HealthKind(Enum):
    """What can be wrong with a camera's picture."""

    OFFLINE = "offline"
    FROZEN = "frozen"
    BLACK = "black"
    COVERED = "covered"
    TOO_BRIGHT = "too bright"
    OUT_OF_FOCUS = "out of focus"
    SHIFTED = "shifted"


@dataclass(frozen=True, slots=True)
class StateChange:
    """A source has come into another state.

    Attributes:
        time_s: when, by `time.monotonic()`.
        wall_s: when, by `time.time()`, for people.
        source: its name.
        state: the new one.
        reason: of the loss, for `lost` and `waiting`; else None.
        message: the error's own line, without passwords; empty where there was none.
        retry_s: for `waiting`, seconds until the next attempt.
        repeated: the source has been in this state, for this reason, since it last gave a picture.
            A camera that is off for a week tries twice a minute; lists leave these out.
    """

    time_s: float
    wall_s: float
    source: str
    state: CameraState
    reason: LossReason | None = None
    message: str = ""
    retry_s: float | None = None
    repeated: bool = False

    def __str__(self) -> str:
        """One line for the log.

        >>> print(change)
        front: lost (refused): cannot open rtsp://***@cam/1: connection refused; ...
        """
        why = f" ({self.reason.value})" if self.reason is not None else ""
        retry = "" if self.retry_s is None else f", next attempt in {self.retry_s:.1f} s"
        tail = f": {self.message}" if self.message else ""
        return f"{self.source}: {self.state.value}{why}{retry}{tail}"


@dataclass(frozen=True, slots=True)
class HealthEvent:
    """A condition of a camera's picture, with its beginning and its end.

    It is reported twice: with `ended_s` None when the condition is certain, and once more, equal
    but for its end, when it is over.

    Attributes:
        source: the camera's name.
        kind: what is wrong.
        started_s: when it began (not when it was noticed), by `time.monotonic()`.
        wall_s: the same by `time.time()`.
        ended_s: when it was over; None while it lasts.
    """

    source: str
    kind: HealthKind
    started_s: float
    wall_s: float
    ended_s: float | None = None

    def __str__(self) -> str:
        """One line for the log."""
        if self.ended_s is None:
            return f"{self.source}: {self.kind.value}"
        lasted_s = self.ended_s - self.started_s
        return f"{self.source}: no longer {self.kind.value}, after {lasted_s:.1f} s"


@dataclass(frozen=True, slots=True)
class RoadEvent:
    """What a rule watches for. It is reported when it begins, and once more when it is over.

    Attributes:
        source: the camera's name.
        name: of the rule.
        started_s: when it was seen first, by `time.monotonic()`.
        wall_s: the same by `time.time()`.
        ended_s: when it was over; None while it lasts.
    """

    source: str
    name: str
    started_s: float
    wall_s: float
    ended_s: float | None = None

    def __str__(self) -> str:
        """One line for the log."""
        if self.ended_s is None:
            return f"{self.source}: event {self.name}"
        return f"{self.source}: event {self.name} over, after {self.ended_s - self.started_s:.1f} s"


@dataclass(frozen=True, slots=True)
class RecordChange:
    """The recording of a source begins, ends, pauses or fails.

    Attributes:
        source: the camera's name.
        what: `recording`, `recording ended`, `recording paused`.
        time_s: when, by `time.monotonic()`.
        wall_s: the same by `time.time()`.
        message: why; empty where somebody wanted it.
    """

    source: str
    what: str
    time_s: float
    wall_s: float
    message: str = ""

    def __str__(self) -> str:
        """One line for the log."""
        return f"{self.source}: {self.what}{f': {self.message}' if self.message else ''}"
