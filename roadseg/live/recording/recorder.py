"""Which cameras are being recorded: started and stopped by the configuration, the page or a key."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from roadseg.core.errors import SinkError, UsageError
from roadseg.core.home import below_home
from roadseg.core.types import Image
from roadseg.live.config import RecordConfig
from roadseg.live.events import RecordChange
from roadseg.live.outputs import Output, Result
from roadseg.live.recording.names import recorded
from roadseg.live.recording.room import Room
from roadseg.live.recording.segments import SegmentWriter, View
from roadseg.live.run import LiveRun
from roadseg.live.station import Station
from roadseg.live.web.recordings import RecordedFile
from roadseg.media.sinks.leftovers import settle_recordings
from roadseg.media.sinks.targets import write_failure

_LOG = logging.getLogger("roadseg.live")

# A disk that hangs keeps its thread; the page goes on.
_STOP_S = 10.0


class StationRecorder:
    """Records stations of a run; see `roadseg.live.web.recordings.Recorder`.

    Args:
        config: where to, and how much.
        run: whose stations.
        render_of: makes what draws the finished pictures of a station.

    Raises:
        SinkError: the folder cannot be made.
    """

    def __init__(
        self,
        config: RecordConfig,
        run: LiveRun,
        render_of: Callable[[Station], Callable[[Result], Image]],
    ) -> None:
        self._config = config
        self._run = run
        self._render_of = render_of
        self._folder = below_home(config.folder)
        self._stations = {station.name: station for station in run.stations}
        self._outputs: dict[str, Output] = {}
        self._lock = threading.Lock()
        self._room: Room | None = None
        if config.start:
            self._prepare()
            with self._lock:
                for name in self._stations:
                    self._start(name)

    def is_recording(self, source: str) -> bool:
        """See `Recorder`."""
        return source in self._outputs

    def start(self, source: str) -> None:
        """See `Recorder`."""
        with self._lock:
            room = self._prepare()
            if not room.enough():
                raise SinkError(f"{source} is not recorded: {room.shortage}", fix="free some space")
            if source not in self._outputs:
                self._start(source)

    def _start(self, source: str) -> None:
        station = self._stations[source]
        views = [View("", self._render_of(station))]
        if self._config.raw:
            views.append(View("-raw", lambda result: result.frame.image_bgr))

        def note(what: str, message: str) -> None:
            change = RecordChange(source, what, time.monotonic(), time.time(), message)
            _LOG.log(logging.WARNING if message else logging.INFO, "%s", change)
            station.note(change)

        def failed(exc: BaseException) -> None:
            note("recording ended", f"{type(exc).__name__}: {exc}")
            _LOG.debug("recording failed", exc_info=exc)
            with self._lock:
                output = self._outputs.pop(source, None)
            if output is not None:
                station.remove_output(output)

        seconds = self._config.segment_minutes * 60
        writer = SegmentWriter(self._folder, source, views, seconds, self._prepare(), note)
        self._outputs[source] = self._run.open_output(
            station, f"record-{source}", writer, on_error=failed
        )

    def stop(self, source: str) -> None:
        """See `Recorder`."""
        with self._lock:
            output = self._outputs.pop(source, None)
        if output is None:
            return
        self._stations[source].remove_output(output)
        output.finish()
        if not output.join(_STOP_S):
            raise SinkError(f"the recording of {source} waits for the disk", fix="look at it")

    def files(self) -> list[RecordedFile]:
        """See `Recorder`."""
        return [
            RecordedFile(each.path.name, each.path, each.source, each.began_wall_s, each.size_bytes)
            for each in reversed(recorded(self._folder, self._stations))
        ]

    def _prepare(self) -> Room:
        """Make the folder, and give names to what a killed run left in it; the first time only."""
        if self._room is not None:
            return self._room
        config = self._config
        try:
            if self._folder.exists() and not self._folder.is_dir():
                raise UsageError(f"{self._folder} is a file", fix="give a folder for recordings")
            self._folder.mkdir(parents=True, exist_ok=True)
            for warning in settle_recordings(self._folder):
                _LOG.warning("%s", warning)
        except OSError as exc:
            raise write_failure(self._folder, exc) from exc
        self._room = Room(
            self._folder, self._stations, config.keep_gb, config.min_free_gb, time.monotonic
        )
        return self._room
