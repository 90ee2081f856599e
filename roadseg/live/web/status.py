"""What is known of all cameras, as JSON: for the page once a second, and for `/healthz`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.events import CameraState, HealthEvent, RecordChange, RoadEvent, StateChange
from roadseg.live.station import LiveEvent, Station
from roadseg.live.web.recordings import Recorder

__all__ = ["StatusBoard", "health", "last_frame_age_s"]

_EVENTS_KEPT = 500
_FRESH_S = 0.9
_GIVES_PICTURES = (CameraState.LIVE, CameraState.STALLED)


class StatusBoard:
    """Figures of all cameras, gathered at most once a second, whoever asks.

    Args:
        stations: the cameras.
        recorder: says which are being recorded.
        clock: of the stations.
    """

    def __init__(
        self, stations: Sequence[Station], recorder: Recorder | None, clock: Clock = SYSTEM_CLOCK
    ) -> None:
        self._stations = stations
        self._recorder = recorder
        self._clock = clock
        self._cameras: list[dict[str, Any]] = []
        self._gathered_s = float("-inf")
        self._last_seen: list[LiveEvent | None] = [None] * len(stations)
        self._events: deque[dict[str, Any]] = deque(maxlen=_EVENTS_KEPT)
        self._count = 0

    def current(self, after: int = 0) -> dict[str, Any]:
        """A message for a viewer.

        Args:
            after: number of the last event that the viewer knows.
        """
        now_s = self._clock()
        if now_s - self._gathered_s >= _FRESH_S:
            self._gathered_s = now_s
            self._cameras = [self._camera(station) for station in self._stations]
            self._gather_events()
        return {
            "type": "status",
            "now": now_s,
            "wall": time.time(),
            "cameras": self._cameras,
            "events": [event for event in self._events if event["number"] > after],
        }

    def _camera(self, station: Station) -> dict[str, Any]:
        age = station.ages.summary()
        size_hw = None if station.newest is None else station.newest.frame.size_hw
        recorder = self._recorder
        return {
            **_state(station),
            "size": None if size_hw is None else [size_hw[1], size_hw[0]],
            "arriving_fps": round(station.arrivals.per_s(), 2),
            "shown_fps": round(station.shows.per_s(), 2),
            "age_p50": age.p50,
            "age_p95": age.p95,
            "read": station.tally.read,
            "shown": station.tally.shown,
            "dropped": dict(station.tally.dropped),
            "health": [event.kind.value for event in station.health],
            "too_slow": station.too_slow,
            "readings": _readings(station),
            "recording": recorder is not None and recorder.is_recording(station.name),
        }

    def _gather_events(self) -> None:
        news: list[dict[str, Any]] = []
        for i, station in enumerate(self._stations):
            events = station.recent_events()
            seen = self._last_seen[i]
            known = next((k for k in range(len(events), 0, -1) if events[k - 1] is seen), 0)
            news += [_event(event) for event in events[known:]]
            self._last_seen[i] = events[-1] if events else None
        for event in sorted(news, key=lambda event: event["time"]):
            self._count += 1
            self._events.append({"number": self._count, **event})


def health(stations: Sequence[Station], *, details: bool, now_s: float) -> dict[str, Any]:
    """The answer of `/healthz`.

    `status` is `ok` when every source gives pictures, `degraded` when some do, `down` when none
    does.

    Args:
        details: name the sources, for viewers who know the token.
        now_s: by the stations' clock.
    """
    states = [None if s.state is None else s.state.state for s in stations]
    well = sum(state is CameraState.LIVE for state in states)
    on = sum(state in _GIVES_PICTURES for state in states)
    answer: dict[str, Any] = {
        "status": "ok" if well == len(stations) else "degraded" if on else "down"
    }
    if details:
        answer["sources"] = [
            {
                "name": station.name,
                **_state(station),
                "last_frame_age_s": last_frame_age_s(station, now_s),
                "fps": round(station.shows.per_s(), 2),
                "health": [event.kind.value for event in station.health],
            }
            for station in stations
        ]
    return answer


def last_frame_age_s(station: Station, now_s: float) -> float | None:
    """Since when the newest result's frame was captured; None before the first."""
    newest = station.newest
    return None if newest is None else round(now_s - newest.frame.captured_s, 3)


def _readings(station: Station) -> list[list[str]]:
    """What the road says now: pairs of a name and a value."""
    newest = station.newest
    return [] if newest is None else [[line.left, line.right] for line in newest.lines]


def _state(station: Station) -> dict[str, Any]:
    change = station.state
    if change is None:
        return {
            "state": "connecting",
            "since": None,
            "reason": None,
            "message": "",
            "retry_s": None,
            "no_picture_since": None,
        }
    # Why a camera was lost holds on while attempts come and go.
    why = change if change.reason is not None or station.loss is None else station.loss
    return {
        "state": change.state.value,
        "since": change.wall_s,
        "reason": None if why.reason is None else why.reason.value,
        "message": change.message or ("" if station.loss is None else station.loss.message),
        "retry_s": change.retry_s,
        "no_picture_since": station.dark_since_wall_s,
    }


def _event(event: LiveEvent) -> dict[str, Any]:
    if isinstance(event, (HealthEvent, RoadEvent)):
        is_health = isinstance(event, HealthEvent)
        what = event.kind.value if isinstance(event, HealthEvent) else event.name
        lasted_s = None if event.ended_s is None else event.ended_s - event.started_s
        return {
            "kind": "health" if is_health else "road",
            "id": f"{event.source}/{what}/{event.started_s:.3f}",
            "source": event.source,
            "time": event.wall_s,
            "what": what,
            "lasted_s": lasted_s,
        }
    what = event.what if isinstance(event, RecordChange) else event.state.value
    reason = event.reason if isinstance(event, StateChange) else None
    return {
        "kind": "record" if isinstance(event, RecordChange) else "state",
        "id": f"{event.source}/{event.time_s:.3f}/{what}",
        "source": event.source,
        "time": event.wall_s,
        "what": what,
        "reason": None if reason is None else reason.value,
        "message": event.message,
    }
