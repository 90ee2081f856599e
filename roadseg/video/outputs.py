"""The sinks of one run as one: pictures and masks, each finished on its own merits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from roadseg.core.types import Picture
from roadseg.media.sinks.png import PngSink
from roadseg.video.reading import Read, Row, Timeline

if TYPE_CHECKING:
    from pathlib import Path

    from roadseg.media.sinks.sink import MaskSink, Sink
    from roadseg.video.clips import EventClips


@runtime_checkable
class GrowingSink(Protocol):
    """A sink with one file that grows."""

    def sync(self) -> None:
        """Wait until the disk has what was written so far, as far as it can be had."""


class Outputs:
    """Writes each frame to the sinks that there are.

    Args:
        sink: takes pictures, None for none.
        mask_sink: takes class ids, None for none.
        timeline: takes read-outs, None for none.
        clips: takes pictures and events, None for none.

    Attributes:
        written: files and folders that hold results, after `close`.
        names: for every picture file whose result was written: `Frame.name` and the name of the
            PNG.
    """

    def __init__(
        self,
        sink: Sink | None,
        mask_sink: MaskSink | None,
        timeline: Timeline | None = None,
        clips: EventClips | None = None,
    ) -> None:
        self.written: list[Path] = []
        self.names: list[tuple[str, str]] = []
        self._sink = sink
        self._mask_sink = mask_sink
        self._timeline = timeline
        self._clips = clips
        # Clips come last: closing a recording hands them the last pictures.
        sinks = (sink, mask_sink, timeline, clips)
        self._all = [each for each in sinks if each is not None]
        self._naming = next((each for each in self._all if isinstance(each, PngSink)), None)
        self._failed: Sink | MaskSink | Timeline | EventClips | None = None

    def __bool__(self) -> bool:
        """Whether there is anything to write to."""
        return bool(self._all)

    @property
    def warnings(self) -> list[str]:
        """Those of all sinks, one line each."""
        return [warning for sink in self._all for warning in sink.warnings]

    def write(self, read: Read, picture: Picture | None, row: Row | None = None) -> None:
        """Write one frame.

        Args:
            read: the frame and its labels.
            picture: as rendered.
            row: for the timeline.

        Raises:
            SinkError: it could not be written.
        """
        frame = read.frame
        writing: Sink | MaskSink | Timeline | EventClips | None = None
        try:
            if self._sink is not None and picture is not None:
                writing = self._sink
                writing.write(picture, frame)
            if self._mask_sink is not None:
                writing = self._mask_sink
                writing.write(read.ids, frame)
            if self._timeline is not None and row is not None:
                writing = self._timeline
                writing.write(row)
            if self._clips is not None and picture is not None and read.cues is not None:
                writing = self._clips
                writing.write(frame, picture, read.cues)
        except BaseException:
            self._failed = writing
            raise
        if frame.name is not None and self._naming is not None:
            self.names.append((frame.name, self._naming.name_of(frame)))

    def sync(self) -> None:
        """Wait until the disk has what was written, for sinks whose files grow; any thread may
        call this."""
        for sink in self._all:
            if isinstance(sink, GrowingSink):
                sink.sync()

    def close(self, *, ok: bool) -> None:
        """Finish every sink, or give up all of them; one that failed to write is given up anyway.

        Raises:
            SinkError: one could not be finished; the others are closed all the same.
        """
        first_error: BaseException | None = None
        for sink in self._all:
            good = ok and sink is not self._failed
            try:
                sink.close(ok=good)
            except BaseException as exc:  # noqa: BLE001  (raised below)
                first_error = first_error or exc
                continue
            if good and sink.path is not None:
                self.written.append(sink.path)
        if first_error is not None:
            raise first_error
