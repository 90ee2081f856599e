"""A live run: cameras, one network, stations; started and stopped as one.

Whatever ends it (every file is over, `stop`, Ctrl-C, an error of the network or of an output), the
cameras stop reading, frames that were read are shown, files are finished, and the first error is
raised. A camera that fails ends nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from roadseg.core.errors import RoadsegError, UsageError
from roadseg.live.camera import Camera, open_configured
from roadseg.live.clock import SYSTEM_CLOCK, Clock
from roadseg.live.config import SourceConfig
from roadseg.live.events import StateChange
from roadseg.live.mailbox import Bell
from roadseg.live.outputs import Output, Writer
from roadseg.live.rates import AgeSummary, DropCause
from roadseg.live.scheduler import Batch, Scheduler
from roadseg.live.station import LiveEvent, Station
from roadseg.media.sources.base import Source
from roadseg.video.inference import FrameSegmenter
from roadseg.video.reading import Reader

__all__ = ["LiveReport", "LiveRun", "SourceReport"]

# Ctrl-C is noticed at least so often, on systems where waiting keeps it back.
_LOOK_S = 0.2

# A camera whose driver does not return is left to the end of the process.
_CAMERA_ENDS_S = 5.0


@dataclass(frozen=True)
class SourceReport:
    """What became of one source.

    Attributes:
        name: of the source.
        read: frames that left it: `shown`, and all of `dropped`.
        shown: frames whose labels were shown.
        dropped: the others, by cause.
        connects: connections that gave a picture.
        stuck: threads that never came back from its driver.
        fps: of what was shown, over the last seconds.
        age: of what was shown, over the last seconds.
        last: its last change of state.
    """

    name: str
    read: int
    shown: int
    dropped: dict[DropCause, int]
    connects: int
    stuck: int
    fps: float
    age: AgeSummary
    last: StateChange | None


@dataclass(frozen=True)
class LiveReport:
    """What became of a run.

    Attributes:
        sources: in the order of the configuration.
        duration_s: from the start to the end.
    """

    sources: tuple[SourceReport, ...]
    duration_s: float

    @property
    def pending(self) -> int:
        """Frames that are neither shown nor dropped: 0 once the run has ended."""
        return sum(each.read - each.shown - sum(each.dropped.values()) for each in self.sources)

    def to_json(self) -> dict[str, object]:
        """What `--stats-json` writes."""
        return {
            "duration_s": round(self.duration_s, 3),
            "sources": [
                {
                    "name": each.name,
                    "read": each.read,
                    "shown": each.shown,
                    "dropped": each.dropped,
                    "connects": each.connects,
                    "stuck": each.stuck,
                    "fps": each.fps,
                    "age_s": asdict(each.age),
                    "state": None if each.last is None else each.last.state.value,
                    "reason": None
                    if each.last is None or each.last.reason is None
                    else each.last.reason.value,
                }
                for each in self.sources
            ],
        }


class LiveRun:
    """Many sources through one network. The caller opens and closes the segmenter.

    Args:
        segmenter: used by one thread of the run only, until `run` returns.
        sources: at least one, each with a name of its own.
        batch: see `Scheduler`.
        writers: gives the writers of each station, when the run starts.
        reader: makes the reader of each source; see `Station`.
        on_event: gets every change of state and every event; must not block.
        patient: wait for cameras that are not there; else one that fails before it has given a
            picture ends the run with its error.
        rate: see `Scheduler`.
        opener: opens a source.
        clock: for everything but the joining of threads.

    Attributes:
        stations: one a source, in their order.

    Raises:
        UsageError: there is no source, or two have the same name.
    """

    def __init__(
        self,
        segmenter: FrameSegmenter,
        sources: Sequence[SourceConfig],
        *,
        batch: Batch | None = None,
        writers: Callable[[Station], Sequence[Writer]] | None = None,
        reader: Callable[[SourceConfig], Reader | None] = lambda _: None,
        on_event: Callable[[LiveEvent], None] | None = None,
        patient: bool = True,
        rate: float | None = None,
        opener: Callable[[SourceConfig], Source] = open_configured,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        names = [source.name for source in sources]
        if not names:
            raise UsageError("a live run needs a source", fix="give at least one")
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise UsageError(f"two sources are called {twice!r}", fix="give each a name of its own")
        self._clock = clock
        self._writers = writers
        self._bell = Bell()
        self._over = threading.Event()
        self._first_error: BaseException | None = None
        self._error_lock = threading.Lock()
        self._started_s = clock()
        self.stations = tuple(
            Station(source, self._bell, reader=reader(source), on_event=on_event, clock=clock)
            for source in sources
        )
        self._cameras = tuple(
            Camera(
                station.config,
                station.mailbox,
                station,
                opener=opener,
                on_error=self._fail,
                patient=patient,
                clock=clock,
            )
            for station in self.stations
        )
        self.scheduler = Scheduler(
            segmenter,
            self.stations,
            self._bell,
            batch=batch,
            on_error=self._fail,
            rate=rate,
            clock=clock,
        )

    def run(self, attend: Callable[[], bool] | None = None) -> LiveReport:
        """Run until every source has come to its end, or `stop` is called.

        Args:
            attend: called again and again in this thread, for a window; takes some hundredths of a
                second, and returns False to end the run.

        Raises:
            RoadsegError: the first error of the network or of an output. What was read before
                has been shown, and files are finished.
            KeyboardInterrupt: Ctrl-C; the same. A second one gives up frames that were read, a
                third one files that cannot be finished.
        """
        self._started_s = self._clock()
        try:
            self._start()
            while not (self._over.is_set() or self.scheduler.ended.is_set()):
                if attend is None:
                    self._over.wait(_LOOK_S)
                elif not attend():
                    self.stop()
        except BaseException as exc:  # noqa: BLE001  (kept, and raised below)
            self._fail(exc)
        self._finish()
        if self._first_error is not None:
            raise self._first_error
        return self.report()

    def stop(self) -> None:
        """Read no more frames; show those that were read. Any thread may call this."""
        self._over.set()

    def open_output(
        self,
        station: Station,
        name: str,
        writer: Writer,
        on_error: Callable[[BaseException], None] | None = None,
    ) -> Output:
        """Let a writer have every result of a station from now on; any thread may call this.

        Args:
            station: of this run.
            name: of its thread.
            writer: closed when the run ends, or by `Output.finish`.
            on_error: gets the error that ended it; by default it ends the run.
        """
        output = Output(name, writer, on_free=self._bell.ring, on_error=on_error or self._fail)
        station.add_output(output)
        return output

    def report(self) -> LiveReport:
        """What has happened so far."""
        sources = tuple(
            SourceReport(
                name=station.name,
                read=station.tally.read,
                shown=station.tally.shown,
                dropped=dict(station.tally.dropped),
                connects=camera.connects,
                stuck=camera.stuck,
                fps=round(station.shows.per_s(), 2),
                age=station.ages.summary(),
                last=camera.last,
            )
            for station, camera in zip(self.stations, self._cameras, strict=True)
        )
        return LiveReport(sources, self._clock() - self._started_s)

    def _start(self) -> None:
        for station in self.stations:
            for i, writer in enumerate(self._writers(station) if self._writers else ()):
                self.open_output(station, f"output-{station.name}-{i}", writer)
        self.scheduler.start()
        for camera in self._cameras:
            camera.start()

    def _finish(self) -> None:
        """Stop from the cameras down to the files; a further Ctrl-C gives up the next stage."""
        for camera in self._cameras:
            camera.stop()
        for give_up in (self._cancel, None):
            try:
                self._drain()
                break
            except KeyboardInterrupt as exc:
                self._fail(exc)
                if give_up is not None:
                    give_up()
        for camera in self._cameras:
            camera.join(_CAMERA_ENDS_S)
        for station in self.stations:
            station.close()

    def _drain(self) -> None:
        if self.scheduler.started:
            _await(self.scheduler.ended)
        for station in self.stations:
            try:
                station.finish()
            except RoadsegError as exc:  # noqa: PERF203
                self._fail(exc)
        outputs = [output for station in self.stations for output in station.outputs]
        for output in outputs:
            output.finish()
        for output in outputs:
            _await(output.ended)

    def _cancel(self) -> None:
        for station in self.stations:
            station.mailbox.cancel()

    def _fail(self, error: BaseException) -> None:
        with self._error_lock:
            if self._first_error is None:
                self._first_error = error
        self._over.set()


def _await(event: threading.Event) -> None:
    while not event.wait(_LOOK_S):
        pass
