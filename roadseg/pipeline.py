"""From options to a running video loop: what `roadseg run` and `roadseg bench` share.

>>> options = RunOptions(source="drive.mp4", output=Path("out.mp4"))
>>> with open_loop(options) as loop:
...     stats = loop.run()
>>> stats.fps
37.4
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.errors import SinkError, UsageError
from roadseg.core.labels import CAMVID, DEFAULT_PALETTE, ClassSet
from roadseg.core.wording import option
from roadseg.loading.segmenter import Segmenter
from roadseg.media.redaction import redact
from roadseg.media.sinks.default_output import open_default_sink
from roadseg.media.sinks.sink import MaskSink, open_sink
from roadseg.media.sources import places
from roadseg.media.sources.base import RtspTransport
from roadseg.media.sources.opening import open_source
from roadseg.render import Renderer
from roadseg.video.display import Window, display_available, open_window, without_window
from roadseg.video.loop import VideoLoop
from roadseg.video.meters import Meters

if TYPE_CHECKING:
    from roadseg.backends.tensorrt.build.builder import BuildProgress

__all__ = ["RunOptions", "open_loop", "parse_size"]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """One run over one source.

    Attributes:
        source: see `roadseg.media.sources.opening.open_source`.
        output: `.mp4` file or folder for the pictures; None for neither.
        save_masks: folder for the class ids, None for none.
        show: True: a window, or an error; False: none; None: one if there is a display.
        measure: what happens is the result: render even if nobody looks, and accept that
            nothing is written.
        choose_output: where there is neither a window nor anything to write or to measure, write
            the pictures into the current folder, under a new name made from the source's; see
            `roadseg.media.sinks.default_output`. Live and endless sources are refused then.
        view, alpha, legend, palette, hud: see `roadseg.render.Renderer`.
        model, backend, size_hw, threads: see `roadseg.Segmenter`.
        max_frames: end after so many frames of the source.
        loop: start a file again at its end.
        fps, rtsp_transport, stream: see `roadseg.media.sources.opening.open_source`.
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
    model: str = "segnet-lite"
    backend: str = "auto"
    size_hw: tuple[int, int] | None = None
    threads: int | None = None
    max_frames: int | None = None
    loop: bool = False
    fps: Fraction | None = None
    rtsp_transport: RtspTransport = "auto"
    stream: int | None = None


@contextmanager
def open_loop(
    options: RunOptions,
    *,
    meters: Meters | None = None,
    report: Callable[[str], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Iterator[VideoLoop]:
    """Open everything that a run needs and close it again.

    Cheap checks come first and the network is compiled last, so a typing error costs no wait.
    Nothing is left under the name of the output unless the loop runs.

    Args:
        options: what to run.
        meters: what measures it.
        report, progress: see `roadseg.Segmenter`.

    Raises:
        RoadsegError: something named by the options is unknown or cannot be opened.
    """
    _renderer(options, CAMVID)  # a mistyped option does not wait for the model
    with ExitStack() as stack:
        segmenter = stack.enter_context(
            Segmenter(
                options.model,
                options.backend,
                size_hw=options.size_hw,
                threads=options.threads,
                report=report,
                progress=progress,
            )
        )
        renderer = _renderer(options, segmenter.classes)
        window = _open_window(options)
        if window is not None:
            stack.callback(window.close)
        chooses = options.choose_output and window is None and not _has_results(options)
        if chooses:
            _refuse_endless(options, _live_name(options.source))
        source = stack.enter_context(
            open_source(
                options.source,
                loop=options.loop,
                max_frames=options.max_frames,
                fps=options.fps,
                rtsp_transport=options.rtsp_transport,
                stream=options.stream,
            )
        )
        sink = mask_sink = None
        # The loop closes its sinks; these calls then do nothing. They matter when it never runs.
        if options.output is not None:
            sink = open_sink(options.output, source.info)
            stack.callback(sink.close, ok=False)
        elif chooses:
            _refuse_endless(options, source.info.name if source.info.kind == "live" else None)
            try:
                sink = open_default_sink(source.info)
            except SinkError as exc:
                another = f"({option('--output')} chooses another place)"
                if exc.fix:
                    raise SinkError(exc.what, fix=f"{exc.fix} {another}") from exc
                raise SinkError(f"{exc.what} {another}") from exc
            stack.callback(sink.close, ok=False)
            if report is not None:
                report(
                    f"no window ({_why_no_window(options)}): writing {sink.path}; "
                    f"choose with {option('--output')}, {option('--save-masks')} or {_measured()}"
                )
        if options.save_masks is not None:
            mask_sink = MaskSink(options.save_masks, source.info, output=options.output)
            stack.callback(mask_sink.close, ok=False)
        if source.info.size_hw is not None:
            segmenter.prepare(source.info.size_hw)
        needs_pictures = sink is not None or window is not None or options.measure
        yield VideoLoop(
            source,
            segmenter,
            renderer if needs_pictures else None,
            sink=sink,
            mask_sink=mask_sink,
            window=window,
            meters=meters,
        )


def parse_size(text: str) -> tuple[int, int]:
    """`"352x480"` to (352, 480), height first.

    Raises:
        UsageError: it is not HxW.
    """
    match = re.fullmatch(r"([0-9]{1,5})[xX]([0-9]{1,5})", text.strip())
    if match is None:
        raise UsageError(
            f"size {text!r} is not HxW (height x width of the network's input)",
            fix=f"use for example {option('--size', (352, 480))}",
        )
    return int(match[1]), int(match[2])


def _renderer(options: RunOptions, classes: ClassSet) -> Renderer:
    return Renderer(
        options.palette,
        options.view,
        options.alpha,
        legend=options.legend,
        hud=options.hud,
        classes=classes,
    )


def _open_window(options: RunOptions) -> Window | None:
    if options.show is False:
        return None
    return open_window(f"roadseg: {redact(options.source)}", required=options.show is True)


def _has_results(options: RunOptions) -> bool:
    return options.output is not None or options.save_masks is not None or options.measure


def _why_no_window(options: RunOptions) -> str:
    return without_window() if options.show is False else str(display_available())


def _live_name(source: str) -> str | None:
    """The name of what is live for certain; None where only opening it tells."""
    place = places.find(source)
    if isinstance(place, places.Camera):
        return place.name
    # What http sends may be a file.
    if isinstance(place, places.Url) and not place.url.lower().startswith("http"):
        return place.name
    return None


def _refuse_endless(options: RunOptions, live_name: str | None) -> None:
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
