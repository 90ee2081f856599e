"""`/metrics`: figures for Prometheus, read from the stations when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from roadseg.live.events import CameraState, HealthKind
from roadseg.live.station import Station
from roadseg.live.web.status import last_frame_age_s
from roadseg.live.web.viewer import Counts

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics(Collector):
    """Everything that roadseg tells Prometheus.

    Args:
        stations: the cameras.
        counts: of what was sent.
        viewers: how many there are now.
        clock: of the stations.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        counts: Counts,
        viewers: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._stations = stations
        self._counts = counts
        self._viewers = viewers
        self._clock = clock
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def text(self) -> bytes:
        """The answer of `/metrics`."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield from self._frames()
        yield from self._states()
        yield GaugeMetricFamily("roadseg_viewers", "Viewers of the page.", self._viewers())
        counts = self._counts
        yield CounterMetricFamily("roadseg_viewer_frames", "Frames sent to viewers.", counts.frames)
        yield CounterMetricFamily("roadseg_viewer_bytes", "Bytes of those frames.", counts.bytes)
        yield CounterMetricFamily(
            "roadseg_viewers_refused", "Viewers turned away or cut off.", counts.refused
        )

    def _frames(self) -> Iterator[Metric]:
        read = CounterMetricFamily("roadseg_frames_read", "Frames read.", labels=["source"])
        shown = CounterMetricFamily(
            "roadseg_frames_shown", "Frames whose labels were in time.", labels=["source"]
        )
        dropped = CounterMetricFamily(
            "roadseg_frames_dropped", "Frames that were not shown.", labels=["source", "cause"]
        )
        fps = GaugeMetricFamily(
            "roadseg_source_fps", "Frames shown a second, lately.", labels=["source"]
        )
        arrival_fps = GaugeMetricFamily(
            "roadseg_source_arrival_fps", "Frames from the camera a second.", labels=["source"]
        )
        age = GaugeMetricFamily(
            "roadseg_frame_age_seconds",
            "From the camera to the labels, lately.",
            labels=["source", "quantile"],
        )
        last = GaugeMetricFamily(
            "roadseg_last_frame_age_seconds", "Since the newest frame shown.", labels=["source"]
        )
        for station in self._stations:
            name, tally = station.name, station.tally
            read.add_metric([name], tally.read)
            shown.add_metric([name], tally.shown)
            for cause, number in tally.dropped.items():
                dropped.add_metric([name, cause], number)
            fps.add_metric([name], station.shows.per_s())
            arrival_fps.add_metric([name], station.arrivals.per_s())
            ages = station.ages.summary()
            for quantile, value in (("0.5", ages.p50), ("0.95", ages.p95), ("0.99", ages.p99)):
                if value is not None:
                    age.add_metric([name, quantile], value)
            since_s = last_frame_age_s(station, self._clock())
            if since_s is not None:
                last.add_metric([name], since_s)
        yield from (read, shown, dropped, fps, arrival_fps, age, last)

    def _states(self) -> Iterator[Metric]:
        states = GaugeMetricFamily(
            "roadseg_source_state", "1 for the state it is in.", labels=["source", "state"]
        )
        conditions = GaugeMetricFamily(
            "roadseg_camera_condition",
            "1 while that is wrong with the picture.",
            labels=["source", "condition"],
        )
        for station in self._stations:
            now = station.state.state if station.state is not None else CameraState.CONNECTING
            for state in CameraState:
                states.add_metric([station.name, state.value], state is now)
            wrong = {event.kind for event in station.health}
            for kind in HealthKind:
                conditions.add_metric([station.name, kind.value], kind in wrong)
        yield from (states, conditions)
