"""The video loop: source -> preprocess -> backend.infer -> postprocess -> render -> sink.

Threads live here and nowhere else. Four of them overlap, with bounded channels between:

    capture   source.read
    infer     segmenter.preprocess, segmenter.submit and .collect, segmenter.postprocess
    render    reader, renderer
    encode    sink.write, mask_sink.write

The thread that calls `VideoLoop.run` (the main thread) shows the newest picture in a window,
reports progress, and is where Ctrl-C arrives. OpenCV, PyAV, OpenVINO and TensorRT release the GIL
while they work, so that the other stages use the time that inference leaves.

Several frames of a file may be in the network at once; see `roadseg.video.inference`.

Files and images: every frame, in order; a full channel makes the stage before it wait.
Live sources: capture never waits. Inference takes the newest frame, one at a time, the ones that it
replaced are counted as dropped, and the channels behind hold one item, so latency stays flat.

Whatever ends the run (end of source, Ctrl-C, an error in any stage, a closed window), each
stage that ends cancels its inbox and closes its outbox. So stages upstream stop, stages downstream
finish what was already read, the encode thread closes the sinks (which completes the file; after a
failed write it holds what came before), and `run` raises the first error. A fifth thread sends what
was written on to the disk once a second, where a power cut leaves it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from roadseg.core.errors import RoadsegError, SourceError
from roadseg.core.types import Frame, Image, Picture, as_bgr
from roadseg.render import HudStats
from roadseg.video.channel import Channel
from roadseg.video.inference import reuse_labels, segment_frames
from roadseg.video.keeping_up import how_chosen, watch_pace
from roadseg.video.meters import Meters
from roadseg.video.outputs import Outputs
from roadseg.video.reading import Read, Reader, Row, Timeline
from roadseg.video.screen import PROGRESS_INTERVAL_S, attend
from roadseg.video.stage import FirstError, Stage
from roadseg.video.stats import PictureName, Progress, RunStats, peak_rss_mb

if TYPE_CHECKING:
    from roadseg.media.sinks.sink import MaskSink, Sink
    from roadseg.media.sources.base import Source, SourceInfo
    from roadseg.render import Renderer
    from roadseg.video.clips import EventClips
    from roadseg.video.display import Window
    from roadseg.video.inference import FrameSegmenter


# How much a power cut may cost, beside what the sink itself holds back.
_SYNC_INTERVAL_S = 1.0

# Digits that change with every frame cannot be read.
_HUD_INTERVAL_S = 0.25

# Frames that wait in front of a stage: enough to ride out a slow frame, few enough to keep the
# latency of files low and to hold 8K frames (100 MB each) in memory.
_MAX_DEPTH = 2
_MAX_QUEUED_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class _Result:
    read: Read
    picture: Picture | None = None


class VideoLoop:
    """One run over one source. The caller opens and closes source, segmenter and window.

    Args:
        source: where frames come from.
        segmenter: used by one thread of the loop only, until `run` returns.
        renderer: None if nobody looks at pictures; then `sink` and `window` must be None too.
        sink: takes the pictures; the loop closes it.
        mask_sink: takes the class ids; the loop closes it.
        reader: reads each frame, None where nothing is asked of it.
        timeline: takes what it reads; the loop closes it.
        clips: takes the pictures and the events among what it reads; the loop closes it.
        window: shows the newest picture; frames that come faster than it can show are skipped.
        on_progress: called in the thread of `run` about ten times a second, and at the end.
        meters: default: new ones, that start now.
        every: the network sees every so many frames; see `roadseg.video.inference.reuse_labels`.
            A live source's are all seen.
        ages: the timeline says how long ago each frame was captured.

    Attributes:
        plays_s: how long what was delivered plays, by the source's times.
        outputs: `outputs.written` names the results, once `run` has returned or raised.
    """

    def __init__(
        self,
        source: Source,
        segmenter: FrameSegmenter,
        renderer: Renderer | None = None,
        *,
        sink: Sink | None = None,
        mask_sink: MaskSink | None = None,
        reader: Reader | None = None,
        timeline: Timeline | None = None,
        clips: EventClips | None = None,
        window: Window | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        meters: Meters | None = None,
        every: int = 1,
        ages: bool = True,
    ) -> None:
        if renderer is None and (sink is not None or window is not None):
            raise ValueError("a sink or a window needs a renderer")
        self.source = source
        self.segmenter = segmenter
        self.renderer = renderer
        self.reader = reader
        self.outputs = Outputs(sink, mask_sink, timeline, clips)
        self.window = window
        self.on_progress = on_progress
        self.meters = meters or Meters()
        self.plays_s = 0.0
        self._ages = ages
        rate = source.info.rate
        self._step_s = 1 / float(rate) if rate else 0.0
        live = source.info.kind == "live"
        self.every = 1 if live else every
        depth = 1 if live else _depth(source.info)
        self._captured: Channel[Frame] = Channel(depth, newest_wins=live)
        self._segmented: Channel[Read] = Channel(depth)
        self._rendered: Channel[_Result] = Channel(depth)
        self._on_screen: Channel[Image] = Channel(1, newest_wins=True)
        self._errors = FirstError()
        self._stopped = False
        self._hud: HudStats | None = None
        self._hud_since_s = self._hud_time_s = 0.0
        self._hud_events: tuple[str, ...] = ()

    def run(self) -> RunStats:
        """Process the source to its end.

        Returns:
            What happened, also when the window was closed or `stop` was called.

        Raises:
            RoadsegError: the first error of any stage, with its own traceback; frames read
                before it have been delivered unless the sink is what failed.
            KeyboardInterrupt: Ctrl-C; everything read before it has been delivered. A second
                Ctrl-C gives up the frames still in the queues; the file is still finalised.
        """
        frames, segmented, rendered = self._captured, self._segmented, self._rendered
        keep, screen = self._errors.keep, self._on_screen
        stages: list[Stage[Any]] = [
            Stage("capture", None, self._capture(), frames, keep),
            Stage("infer", frames, self._segment(frames), segmented, keep),
            Stage("render", segmented, self._rendering(segmented), rendered, keep),
            Stage("encode", rendered, self._encode(rendered), screen, keep),
        ]
        syncing = threading.Thread(
            target=self._sync, args=(stages[-1].ended,), name="roadseg-sync", daemon=True
        )
        self.meters.begin()
        try:
            if self.outputs:
                syncing.start()
            for stage in reversed(stages):  # whoever works has someone who takes the results
                stage.start()
            attend(
                stages[-1].ended,
                self._on_screen,
                self.window,
                report=self._report,
                stop=self.stop,
            )
        except BaseException as exc:  # noqa: BLE001  (kept, and raised below)
            # Ctrl-C, or a window or progress callback that failed: finish what was read.
            self._errors.keep(exc)
            self.stop()
            if any(stage.ident is None for stage in stages):
                self._abandon()  # the chain has a gap, so nothing can drain through it
            if stages[-1].ident is None:
                self.outputs.close(ok=False)
        finally:
            self._join([stage for stage in stages if stage.ident is not None])
            if syncing.ident is not None and stages[-1].ended.is_set():
                syncing.join()
            self.segmenter.discard()  # what an error or a second Ctrl-C left in flight
            self._close_reader()
        if self._errors.error is not None:
            raise self._errors.error
        if self._captured.accepted == 0 and not self._stopped:
            raise SourceError(
                f"no frame could be read from {self.source.info.name}",
                fix="check that a player shows it",
            )
        return self.stats()

    def stop(self) -> None:
        """Read no more frames; deliver those already read. Any thread may call this."""
        self._stopped = True
        self._captured.close()

    def stats(self) -> RunStats:
        """What has happened so far."""
        meters, info = self.meters, self.segmenter.backend_info
        first_frame_s = meters.first_frame_s
        return RunStats(
            frames_in=self._captured.accepted,
            frames_out=meters.frames_out,
            dropped=self._captured.dropped,
            fps=round(meters.fps, 2),
            latency_ms=meters.latency(),
            stages_ms=meters.stages_ms(),
            backend=info.name if info else "",
            model=info.model if info else "",
            size_hw=self.segmenter.network_hw or (0, 0),
            peak_rss_mb=peak_rss_mb(),
            frames_lost=self.source.frames_lost,
            warnings=(*self.source.warnings, *self.outputs.warnings),
            first_frame_s=None if first_frame_s is None else round(first_frame_s, 3),
            reuse=self.every,
            names=self._names(),
            road=None if self.reader is None else self.reader.to_json(),
            auto=how_chosen(self.segmenter),
        )

    def _names(self) -> tuple[PictureName, ...]:
        origins = {name: origin for origin, name in self.source.info.names}
        return tuple(PictureName(origins[name], png) for name, png in self.outputs.names)

    # The stages, in the order in which a frame meets them.

    def _capture(self) -> Iterator[Frame]:
        clock = self.meters.clock
        while True:
            started_s = clock()
            frame = self.source.read()
            if frame is None:
                return
            self.meters.capture.times_ms.add((clock() - started_s) * 1e3)
            yield frame

    def _segment(self, frames: Channel[Frame]) -> Iterator[Read]:
        live = self.source.info.kind == "live"
        if self.every > 1:
            pairs = reuse_labels(
                self.segmenter,
                frames,
                self.meters,
                every=self.every,
                keep_error=self._errors.keep,
            )
        else:
            pairs = segment_frames(
                self.segmenter, frames, self.meters, live=live, keep_error=self._errors.keep
            )
        # A file that is written may take its time.
        looked_at = self.window is not None and not self.outputs
        watch = watch_pace(self.segmenter, self.source.info, self.meters.clock, looked_at=looked_at)
        for each in pairs:
            yield Read(each.frame, each.label_map, scores=each.scores)
            if watch is not None:
                watch.after_frame(self._captured.dropped)

    def _rendering(self, segmented: Iterable[Read]) -> Iterator[_Result]:
        if self.reader is None and self.renderer is None:
            yield from map(_Result, segmented)
            return
        if self.renderer is not None and self.source.info.size_hw is not None:
            self.renderer.prepare(self.source.info.size_hw)  # while the network has the first frame
        for each in segmented:
            with self.meters.render:
                ready = [each] if self.reader is None else self.reader.push(*each.segmented)
                results = [self._render(read) for read in ready]
            yield from results
        if self.reader is not None:
            yield from map(self._render, self.reader.flush())

    def _render(self, read: Read) -> _Result:
        if self.renderer is None:
            return _Result(read)
        left_out = None if read.left_out is None else read.left_out.mask
        hud = self._hud_stats(read)
        doubt = None if read.doubt is None else read.doubt.pixels
        picture = self.renderer(
            read.frame.picture, read.label_map, hud, left_out, doubt, read.guides
        )
        return _Result(read, picture)

    def _encode(self, results: Iterable[_Result]) -> Iterator[Image]:
        try:
            for result in results:
                self._write(result)
                self.meters.frame_out(result.read.frame.captured_s)
                if self.window is not None and result.picture is not None:
                    yield as_bgr(result.picture)
        except BaseException as exc:
            self._errors.keep(exc)  # now, before closing can fail as well
            raise
        finally:
            self.outputs.close(ok=self.meters.frames_out > 0)
            self.meters.end()

    def _sync(self, ended: threading.Event) -> None:
        while not ended.wait(_SYNC_INTERVAL_S):
            self.outputs.sync()

    def _write(self, result: _Result) -> None:
        frame = result.read.frame
        self.plays_s = frame.time_s + (frame.duration_s or self._step_s)
        if self.outputs:
            with self.meters.encode:
                read = result.read
                row = None if read.reading is None else self._row(read)
                self.outputs.write(read, result.picture, row)

    def _close_reader(self) -> None:
        if self.reader is None:
            return
        try:
            self.outputs.written += self.reader.close()
        except RoadsegError as exc:
            self._errors.keep(exc)

    def _row(self, read: Read) -> Row:
        info = self.segmenter.backend_info
        age_ms = (self.meters.clock() - read.frame.captured_s) * 1e3
        return Row(read, age_ms if self._ages else None, info.model if info else "")

    def _hud_stats(self, read: Read) -> HudStats:
        # Digits stand for a while by the clock and in the video, which may be written much faster
        # than it plays; events are shown in the frames in which they go on.
        now_s, time_s = self.meters.clock(), read.frame.time_s
        stands = now_s - self._hud_since_s < _HUD_INTERVAL_S
        stands = stands and 0 <= time_s - self._hud_time_s < _HUD_INTERVAL_S
        if self._hud is None or not stands or read.events != self._hud_events:
            info, recent = self.segmenter.backend_info, self.meters.recent
            self._hud_since_s, self._hud_time_s, self._hud_events = now_s, time_s, read.events
            self._hud = HudStats(
                fps=recent.fps,
                latency_ms=recent.latency_ms,
                dropped=self._captured.dropped,
                backend=info.name if info else "",
                lines=() if self.reader is None else self.reader.hud_lines(read),
                shares=read.shares,
            )
        return self._hud

    # The main thread.

    def _report(self) -> None:
        if self.on_progress is not None:
            recent = self.meters.recent
            self.on_progress(
                Progress(
                    frames_out=self.meters.frames_out,
                    frame_count=self.source.info.frame_count,
                    fps=recent.fps,
                    latency_ms=recent.latency_ms,
                    dropped=self._captured.dropped,
                )
            )

    def _join(self, stages: list[Stage[Any]]) -> None:
        # The encoder comes first: the file is complete before we wait for a slow camera.
        for stage in reversed(stages):
            while not stage.ended.is_set():
                try:
                    stage.ended.wait(PROGRESS_INTERVAL_S)
                except KeyboardInterrupt as exc:  # noqa: PERF203
                    self._errors.keep(exc)
                    self._abandon()
            stage.join()

    def _abandon(self) -> None:
        for channel in (self._captured, self._segmented, self._rendered):
            channel.cancel()


def _depth(info: SourceInfo) -> int:
    if info.size_hw is None:
        return 2
    height, width = info.size_hw
    return max(1, min(_MAX_DEPTH, _MAX_QUEUED_BYTES // (height * width * 3)))
