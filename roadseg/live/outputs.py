"""What is made of a camera's results: each output in a thread of its own.

An output of a live source takes the newest result when it has finished the one before: one that is
slow, or hangs, costs pictures of its own and nothing else. An output of a file gets every result;
the file waits for it (`Output.ready`), and the network serves the others meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.core.files import claim_file
from roadseg.core.geometry import LabelMap
from roadseg.core.types import Frame, Image, Labels
from roadseg.live.slot import Slot
from roadseg.media.sinks.sink import MaskSink, Sink, open_mask_sink, open_sink
from roadseg.media.sources.base import SourceInfo
from roadseg.render import HudLine
from roadseg.video.clips import ClipFolder, EventClips, Roll
from roadseg.video.reading import Read, Row, Timeline


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """A frame with its labels. It equals itself alone: arrays have no answer to `==`.

    Attributes:
        number: counts the results of a source from 0.
        shown_s: when it was ready, by `time.monotonic()`.
        read: what was read from it; None where nothing was asked for.
        lines: the same for the head-up display.
    """

    frame: Frame
    label_map: LabelMap
    number: int
    shown_s: float
    read: Read | None = None
    lines: tuple[HudLine, ...] = ()

    @property
    def ids(self) -> Labels:
        """(H, W) uint8 labels at the size of the frame, void where it is left out."""
        return self.label_map.ids if self.read is None else self.read.ids

    @property
    def left_out(self) -> Labels | None:
        """(H, W) uint8, not 0 where the frame is left out; None for nowhere."""
        left_out = None if self.read is None else self.read.left_out
        return None if left_out is None else left_out.mask

    @property
    def doubt(self) -> npt.NDArray[np.float32] | None:
        """(h, w) float32 entropy, 0 to 1, for the view of that name; None where nothing asks."""
        reading = None if self.read is None else self.read.doubt
        return None if reading is None else reading.pixels

    @property
    def network_ids(self) -> Labels:
        """(h, w) uint8 labels at the network's size, void where the frame is left out."""
        ids = self.label_map.network_ids
        if self.read is None or self.read.left_out is None:
            return ids
        size_wh = (ids.shape[1], ids.shape[0])
        small = cv2.resize(self.read.left_out.mask, size_wh, interpolation=cv2.INTER_AREA)
        return np.where(small > 127, np.uint8(self.read.left_out.void_id), ids)

    @property
    def age_s(self) -> float:
        """From the camera to here."""
        return self.shown_s - self.frame.captured_s


class Writer(Protocol):
    """Takes results, in the output's thread alone."""

    def write(self, result: Result, info: SourceInfo) -> None:
        """Take one; `info` is of the connection that it came from. Raises `SinkError`."""
        ...

    def close(self, *, ok: bool) -> None:
        """Finish; with `ok` what was written becomes a complete file. Raises `SinkError`."""
        ...


class PictureWriter:
    """Finished pictures in a file or a folder, opened with the first one.

    Args:
        path: see `roadseg.media.sinks.sink.open_sink`.
        render: makes the picture of a result.
    """

    def __init__(self, path: Path, render: Callable[[Result], Image]) -> None:
        self._path = path
        self._render = render
        self._sink: Sink | None = None

    def write(self, result: Result, info: SourceInfo) -> None:
        """See `Writer.write`."""
        picture = self._render(result)
        if self._sink is None:
            self._sink = open_sink(self._path, info, (picture.shape[0], picture.shape[1]))
        self._sink.write(picture, result.frame)

    def close(self, *, ok: bool) -> None:
        """See `Writer.close`."""
        if self._sink is not None:
            self._sink.close(ok=ok)


class MaskWriter:
    """Labels as a folder of pictures or one file, opened with the first one.

    Args:
        path, classes: see `open_mask_sink`.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self._path, self._classes = path, classes
        self._sink: MaskSink | None = None

    def write(self, result: Result, info: SourceInfo) -> None:
        """See `Writer.write`."""
        if self._sink is None:
            self._sink = open_mask_sink(self._path, info, self._classes)
        self._sink.write(result.ids, result.frame)

    def close(self, *, ok: bool) -> None:
        """See `Writer.close`."""
        if self._sink is not None:
            self._sink.close(ok=ok)


class TimelineWriter:
    """A row of read-outs for each result; the file is claimed at once.

    Args:
        path, names, hidden: see `Timeline`.
        model: says which network runs.

    Raises:
        SinkError: it cannot be written.
    """

    def __init__(
        self,
        path: Path,
        names: Sequence[str],
        model: Callable[[], str],
        hidden: Sequence[str] = (),
    ) -> None:
        claim_file(path)
        self._timeline = Timeline(path, names, hidden)
        self._model = model

    def write(self, result: Result, info: SourceInfo) -> None:  # noqa: ARG002
        """See `Writer.write`."""
        if result.read is not None:
            self._timeline.write(Row(result.read, result.age_s * 1e3, self._model()))

    def close(self, *, ok: bool) -> None:
        """See `Writer.close`."""
        self._timeline.close(ok=ok)


class ClipsWriter:
    """A clip and a snapshot of each event of a rule.

    Args:
        folder: for them; released in the end.
        rolls: for each rule, by name, what its clips show before and after.
        render: makes the picture of a result.

    Attributes:
        backlog: results that may wait: with one that is left out an event would lose its end.
    """

    backlog = 64

    def __init__(
        self, folder: ClipFolder, rolls: Mapping[str, Roll], render: Callable[[Result], Image]
    ) -> None:
        self._folder, self._rolls, self._render = folder, rolls, render
        self._clips: EventClips | None = None

    def write(self, result: Result, info: SourceInfo) -> None:
        """See `Writer.write`."""
        if self._clips is None:
            self._clips = EventClips(self._folder, self._rolls, info)
        if result.read is not None and result.read.cues is not None:
            self._clips.write(result.frame, self._render(result), result.read.cues)

    def close(self, *, ok: bool) -> None:
        """See `Writer.close`."""
        if self._clips is None:
            self._folder.release()
        else:
            self._clips.close(ok=ok)


class Output:
    """A writer and its thread.

    Args:
        name: for the thread.
        writer: opened, used and closed by that thread.
        on_free: called when it has become ready again.
        on_error: gets the error that ended it; results that come after that are left out.

    Attributes:
        written: results that the writer took.
        ended: set when the writer is closed.
    """

    def __init__(
        self,
        name: str,
        writer: Writer,
        *,
        on_free: Callable[[], None],
        on_error: Callable[[BaseException], None],
    ) -> None:
        self.written = 0
        self.ended = threading.Event()
        self._writer = writer
        self._on_free = on_free
        self._on_error = on_error
        self._slot: Slot[tuple[Result, SourceInfo]] = Slot(room=getattr(writer, "backlog", 1))
        self._thread = threading.Thread(target=self._run, name=f"roadseg-{name}", daemon=True)
        self._thread.start()

    @property
    def ready(self) -> bool:
        """Whether nothing waits; where every result counts, the next one waits for that."""
        return self._slot.empty or self.ended.is_set()

    @property
    def left_out(self) -> int:
        """Results that newer ones replaced."""
        return self._slot.replaced

    def put(self, result: Result, info: SourceInfo, *, replaces: bool = True) -> None:
        """Hand a result over; never blocks.

        Args:
            result, info: see `Writer.write`.
            replaces: it may take the place of one that waits. Where every result counts it does
                not: what the reader held back comes after the last one, ready or not.
        """
        self._slot.put((result, info), replaces=replaces)

    def finish(self) -> None:
        """Write what was handed over, then close the writer. `join` waits for that."""
        self._slot.close()

    def join(self, timeout_s: float | None = None) -> bool:
        """Wait until the writer is closed."""
        return self.ended.wait(timeout_s)

    def _run(self) -> None:
        try:
            self._write_all()
        except BaseException as exc:  # noqa: BLE001  (`LiveRun.run` raises it)
            self._on_error(exc)
        finally:
            self._slot.close()
            self.ended.set()
            self._on_free()

    def _write_all(self) -> None:
        ok = False
        try:
            while (item := self._slot.get()) is not None:
                self._on_free()
                self._writer.write(*item)
                self.written += 1
            ok = True
        finally:
            self._writer.close(ok=ok)
