"""Everything around the network, opened for a run: source, renderer, window and sinks."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from roadseg.core.errors import SinkError, UsageError
from roadseg.core.files import claimed_file
from roadseg.core.labels import CAMVID, DEFAULT_PALETTE, ClassSet
from roadseg.core.wording import option
from roadseg.media.redaction import redact
from roadseg.media.sinks.default_output import open_default_sink
from roadseg.media.sinks.sink import open_mask_sink, open_sink
from roadseg.media.sources import places
from roadseg.media.sources.base import RtspTransport, Source, SourceKind
from roadseg.media.sources.joined import JoinedSource
from roadseg.media.sources.opening import open_source
from roadseg.render import Renderer
from roadseg.video.clips import ClipFolder, open_clips
from roadseg.video.display import Window, display_available, open_window, without_window
from roadseg.video.inference import FrameSegmenter
from roadseg.video.keeping_up import AdaptiveSegmenter
from roadseg.video.loop import VideoLoop
from roadseg.video.meters import Meters
from roadseg.video.reading import Reader, ReadingOptions, Timeline

_log = logging.getLogger(__name__)

MOST_REUSE = 4
"""Of labels that are carried further, too many are wrong; docs/speed.md has the figures."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """One run over one source: where its frames come from, where they go, and how they look.

    Attributes:
        source: see `roadseg.media.sources.opening.open_source`.
        parts: video files that are one drive, in order; read instead of `source`, see
            `roadseg.media.sources.joined.JoinedSource`.
        output: `.mp4` file or folder for the pictures; None for neither.
        save_masks: `.mkv` file or folder for the class ids, None for none.
        show: True: a window, or an error; False: none; None: one if there is a display.
        measure: what happens is the result: render even if nobody looks, and accept that
            nothing is written.
        choose_output: where there is neither a window nor anything to write or to measure, write
            the pictures into the current folder, under a new name made from the source's; see
            `roadseg.media.sinks.default_output`. Live and endless sources are refused then.
        view, alpha, legend, palette, hud: see `roadseg.render.Renderer`. A single picture has no
            speed to show, and no display.
        max_frames: end after so many frames of the source.
        loop: start a file again at its end.
        fps, rtsp_transport, stream: see `roadseg.media.sources.opening.open_source`.
        reuse: the network sees every so many frames of a file, from 1, all, to `MOST_REUSE`; the
            others get their labels from those around them; see `roadseg.video.reuse`. None: all,
            or, where the network is to be chosen, as the choice says.
        reading: what is read from each frame.
        coding_threads: threads that decode, and that encode, each; None: as many as make one run
            fast. With one, a video is the same bytes each time.
        ages: the timeline says how long ago each frame was captured.
    """

    source: str
    output: Path | None = None
    save_masks: Path | None = None
    show: bool | None = False
    measure: bool = False
    choose_output: bool = False
    view: str = "overlay"
    alpha: float = 0.5
    legend: bool = True
    palette: str = DEFAULT_PALETTE
    hud: bool = True
    max_frames: int | None = None
    loop: bool = False
    fps: Fraction | None = None
    rtsp_transport: RtspTransport = "auto"
    stream: int | None = None
    reuse: int | None = None
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    coding_threads: int | None = None
    ages: bool = True
    parts: tuple[Path, ...] = ()

    @property
    def all_reading(self) -> ReadingOptions:
        """What is read from each frame, with what the view shows."""
        return replace(self.reading, doubt_view=True) if self.view == "doubt" else self.reading


def check_look(options: VideoOptions) -> None:
    """Refuse an unknown view or palette, before anything is opened.

    Raises:
        UsageError: one of them is unknown, `alpha` or `reuse` is out of range, or the timeline is
            a file of another kind.
        BackendError: the timeline needs a package that is not installed.
    """
    _renderer(options, CAMVID)
    options.reading.check()
    if options.reuse is None:
        return
    if not 1 <= options.reuse <= MOST_REUSE:
        raise UsageError(
            f"{option('--reuse', options.reuse)} is not from 1 to {MOST_REUSE}",
            fix=f"use {option('--reuse', 2)}: the network sees every second frame",
        )
    if options.reuse > 1 and options.reading.blur:
        raise UsageError(
            f"{option('--blur')} hides what the network finds in each frame, and with "
            f"{option('--reuse')} it does not see them all",
            fix=f"leave {option('--reuse')} out",
        )
    if options.reuse > 1 and options.all_reading.wants_doubt:
        raise UsageError(
            f"doubt is read from the network's scores, and with {option('--reuse')} it does not "
            "see every frame",
            fix=f"leave {option('--reuse')} out",
        )


@contextmanager
def open_video(
    options: VideoOptions, segmenter: FrameSegmenter, *, meters: Meters | None = None
) -> Iterator[VideoLoop]:
    """Open what a run needs beside its network, and close it again.

    The network is compiled last, so a typing error costs no wait. Nothing is left under the name of
    the output unless the loop runs.

    Args:
        options: what to run.
        segmenter: the network; left open.
        meters: what measures the run.

    Raises:
        RoadsegError: something named by the options is unknown or cannot be opened.
    """
    with ExitStack() as stack:
        window = _open_window(options)
        if window is not None:
            stack.callback(window.close)
        chooses = options.choose_output and window is None and not _has_results(options)
        if chooses:
            _refuse_endless(options, _live_name(options.source))
        planar = _can_do_without_bgr(options, window)
        source = stack.enter_context(_open_source(options, planar=planar))
        every = options.reuse
        if every is None and _needs_all_frames(options, source.info.kind):
            every = 1
        if every is not None and every > 1 and source.info.kind != "file":
            raise UsageError(
                f"{option('--reuse')} is for video files; {source.info.name} is none",
                fix="leave it out",
            )
        renderer = _renderer(options, segmenter.classes)
        if source.info.kind == "images" and source.info.frame_count == 1:
            # One picture is no speed: the display would stand in it without a figure.
            renderer = _renderer(replace(options, hud=False), segmenter.classes)
        reader = timeline = folder = clips = None
        reading = options.all_reading
        reading.check_groups(segmenter.classes)
        if reading.wants_reader:
            if options.reading.event_clips is not None:
                folder = ClipFolder(options.reading.event_clips)
                stack.callback(folder.release)
            reader = Reader(reading, segmenter.classes, source.info.size_hw, folder)
            if options.reading.events is not None:
                stack.enter_context(claimed_file(options.reading.events, option("--events")))
            if options.reading.timeline is not None:
                stack.enter_context(claimed_file(options.reading.timeline, option("--timeline")))
                timeline = Timeline(options.reading.timeline, reader.names, reader.hidden)
                stack.callback(timeline.close, ok=False)
        sink = mask_sink = None
        # The loop closes its sinks; these calls then do nothing. They matter when it never runs.
        if options.output is not None:
            sink = open_sink(options.output, source.info, threads=options.coding_threads)
            stack.callback(sink.close, ok=False)
        elif chooses:
            _refuse_endless(options, source.info.name if source.info.kind == "live" else None)
            try:
                sink = open_default_sink(source.info)
            except SinkError as exc:
                another = f"({option('--output')} chooses another place)"
                raise SinkError(exc.what, fix=f"{exc.fix} {another}") from exc
            stack.callback(sink.close, ok=False)
        if options.save_masks is not None:
            mask_sink = open_mask_sink(
                options.save_masks,
                source.info,
                segmenter.classes.names,
                output=options.output,
            )
            stack.callback(mask_sink.close, ok=False)
        if folder is not None and reader is not None:
            clips = open_clips(folder, reader.rules, options.reading.roll, sink, source.info)
            stack.callback(clips.close, ok=False)
        if source.info.size_hw is not None:
            if isinstance(segmenter, AdaptiveSegmenter):
                rate = 0 if source.info.kind == "images" else source.info.rate
                waits = source.info.kind != "live" and source.info.frame_count != 1
                # Pictures that may stay in planes need not come in planes.
                every = segmenter.fit(
                    source.info.size_hw, rate, waits=waits, every=every, planar=source.info.planar
                )
            segmenter.prepare(source.info.size_hw)
        if chooses and sink is not None:
            # Only now: a network that cannot be opened writes nothing.
            _log.info(
                f"no window ({_why_no_window(options)}): writing {sink.path}; "
                f"choose with {option('--output')}, {option('--save-masks')} or {_measured()}"
            )
        shown = sink is not None or window is not None or clips is not None
        needs_pictures = shown or options.measure
        yield VideoLoop(
            source,
            segmenter,
            renderer if needs_pictures else None,
            sink=sink,
            mask_sink=mask_sink,
            reader=reader,
            timeline=timeline,
            clips=clips,
            window=window,
            meters=meters,
            every=every or 1,
            ages=options.ages,
        )


def _open_source(options: VideoOptions, *, planar: bool) -> Source:
    if options.parts:
        return JoinedSource(
            options.parts,
            max_frames=options.max_frames,
            stream=options.stream,
            planar=planar,
            threads=options.coding_threads,
        )
    return open_source(
        options.source,
        loop=options.loop,
        max_frames=options.max_frames,
        fps=options.fps,
        rtsp_transport=options.rtsp_transport,
        stream=options.stream,
        planar=planar,
        threads=options.coding_threads,
    )


def _needs_all_frames(options: VideoOptions, kind: SourceKind) -> bool:
    """Whether the network has to see every frame, whatever else would be the better choice."""
    return kind != "file" or bool(options.reading.blur) or options.all_reading.wants_doubt


def _can_do_without_bgr(options: VideoOptions, window: Window | None) -> bool:
    """Whether pictures may stay in the planes that they are stored in, from the decoder to the
    encoder: nothing that sees all of a picture needs BGR. Asked once, for the whole run."""
    reading = options.reading
    hides = bool(reading.blur) or reading.ignore_mask is not None
    pngs = options.output is not None and options.output.suffix.lower() != ".mp4"
    return window is None and not hides and not pngs and options.view != "doubt"


def _renderer(options: VideoOptions, classes: ClassSet) -> Renderer:
    return Renderer(
        options.palette,
        options.view,
        options.alpha,
        legend=options.legend,
        hud=options.hud,
        classes=classes,
    )


def _open_window(options: VideoOptions) -> Window | None:
    if options.show is False:
        return None
    return open_window(f"roadseg: {redact(options.source)}", required=options.show is True)


def _has_results(options: VideoOptions) -> bool:
    written = options.output is not None or options.save_masks is not None
    return written or options.measure or options.reading.wants_files


def _why_no_window(options: VideoOptions) -> str:
    return without_window() if options.show is False else str(display_available())


def _live_name(source: str) -> str | None:
    """The name of what is live for certain; None where only opening it tells."""
    place = places.find(source)
    if isinstance(place, (places.Camera, places.Csi, places.Pipeline)):
        return place.name
    # What http sends may be a file.
    if isinstance(place, places.Url) and not place.url.lower().startswith("http"):
        return place.name
    return None


def _refuse_endless(options: VideoOptions, live_name: str | None) -> None:
    """A recording that no end of the source ends begins only where it was asked for."""
    if live_name is not None:
        why = f"{live_name} is live and is recorded only when you say so"
    elif options.loop and options.max_frames is None:
        why = f"with {option('--loop', True)} the source has no end"
    else:
        return
    raise UsageError(
        f"nothing to do: {why}",
        fix=f"give {option('--output', 'FILE.mp4')}, {option('--save-masks', 'FOLDER')} or "
        f"{_measured(' FILE')} (no window: {_why_no_window(options)})",
    )


def _measured(value: str = "") -> str:
    """How to ask for figures, for a message."""
    return option(f"--stats-json{value}", parameter="measure=True")
