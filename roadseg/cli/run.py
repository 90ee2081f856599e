"""`roadseg run`: segment every frame of a source."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from roadseg.cli.live.options import (
    CameraFpsOption,
    CameraSizeOption,
    ConfigOption,
    KeepGbOption,
    LogJsonOption,
    MaxFpsOption,
    MaxStalenessOption,
    PolicyOption,
    PrintConfigOption,
    RecordRawOption,
    SegmentMinutesOption,
    SourcesOption,
    StallTimeoutOption,
    StrideOption,
    WebOption,
    WebTokenOption,
)
from roadseg.cli.live.session import run_live
from roadseg.cli.live.typed import Typed, check_rolls, goes_live
from roadseg.cli.options import (
    BackendOption,
    RtspTransportOption,
    SizeOption,
    SourceArgument,
    ThreadsOption,
    one_source,
    parse_fps,
    several_sources,
)
from roadseg.cli.reading_options import (
    AlphaOption,
    BlurOption,
    BlurStyleOption,
    CameraHeightOption,
    CorridorOption,
    DoubtLimitOption,
    DoubtOption,
    EventOption,
    FovOption,
    GroupOption,
    HorizonOption,
    IgnoreMaskOption,
    LegendOption,
    PaletteOption,
    SmoothOption,
    ViewOption,
    parse_blur,
)
from roadseg.core.allocator import share_one_arena
from roadseg.core.garbage import making_what_stays

if TYPE_CHECKING:
    from roadseg.media.sources.base import RtspTransport


def run(
    context: typer.Context,
    sources: SourceArgument = None,
    source: SourcesOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where the pictures go: a .mp4 file, a folder for PNGs, or a .png for one "
            "picture. By default a file or folder called like the source is written here where "
            "there is no window.",
        ),
    ] = None,
    view: ViewOption = "overlay",
    alpha: AlphaOption = 0.5,
    legend: LegendOption = True,
    palette: PaletteOption = "street",
    hud: Annotated[
        bool,
        typer.Option("--hud/--no-hud", help="Show FPS and latency; a single picture has none."),
    ] = True,
    show: Annotated[
        bool | None,
        typer.Option(
            "--show/--no-show",
            help="Show a window; this is the default where there is a display. The key q or Esc "
            "ends the run.",
        ),
    ] = None,
    save_masks: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Write the class ids here: a folder for 8-bit PNGs, or one .mkv file, lossless.",
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="auto|NAME|FILE",
            help="Name of a model, or an .xml, .onnx, .safetensors or .engine file. auto takes the "
            "most accurate network and input that keep up with the source on this machine, which "
            "is measured once.",
        ),
    ] = "auto",
    backend: BackendOption = "auto",
    size: SizeOption = None,
    threads: ThreadsOption = None,
    max_frames: Annotated[
        int | None, typer.Option(metavar="N", help="End after N frames of the source.")
    ] = None,
    loop: Annotated[
        bool, typer.Option("--loop", help="Start a file again at its end. Its sound is left out.")
    ] = False,
    fps: Annotated[
        str | None,
        typer.Option(
            metavar="RATE",
            help="Frames per second of images (by default 25) and of bare streams such as .h264.",
        ),
    ] = None,
    stream: Annotated[
        int | None,
        typer.Option(metavar="N", help="Which video of a file that holds several; the first is 1."),
    ] = None,
    rtsp_transport: RtspTransportOption = "auto",
    reuse: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="For files: the network sees every Nth frame, up to 4, and the others get their "
            "labels from those around them. By default all of them, or every second one where "
            "--model auto finds that better.",
        ),
    ] = None,
    stats_json: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write frame counts, FPS, latency and stage times here."),
    ] = None,
    readouts: Annotated[
        bool,
        typer.Option(
            "--readouts",
            help="Show what the road says: road, free space, what is ahead. The next options do "
            "so, too.",
        ),
    ] = False,
    timeline: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write a row of read-outs for each frame into a .csv, .jsonl or .parquet file.",
        ),
    ] = None,
    corridor: CorridorOption = None,
    camera_height: CameraHeightOption = None,
    horizon: HorizonOption = None,
    fov: FovOption = None,
    ignore_mask: IgnoreMaskOption = None,
    smooth: SmoothOption = False,
    blur: BlurOption = None,
    blur_style: BlurStyleOption = None,
    doubt: DoubtOption = False,
    doubt_limit: DoubtLimitOption = None,
    event: EventOption = None,
    events: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Write a JSON line for each event here."),
    ] = None,
    event_clips: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write a clip and a snapshot of each event here, without sound. Without an .mp4 "
            "output the pictures are encoded for the clips alone.",
        ),
    ] = None,
    pre_roll: Annotated[
        float, typer.Option(metavar="SECONDS", help="What a clip shows before its event.")
    ] = 5.0,
    post_roll: Annotated[
        float, typer.Option(metavar="SECONDS", help="What a clip shows after it.")
    ] = 5.0,
    group: GroupOption = None,
    web: WebOption = None,
    web_token: WebTokenOption = None,
    config: ConfigOption = None,
    print_config: PrintConfigOption = False,
    policy: PolicyOption = None,
    max_staleness: MaxStalenessOption = None,
    stall_timeout: StallTimeoutOption = None,
    max_fps: MaxFpsOption = None,
    stride: StrideOption = None,
    segment_minutes: SegmentMinutesOption = None,
    keep_gb: KeepGbOption = None,
    record_raw: RecordRawOption = False,
    camera_size: CameraSizeOption = None,
    camera_fps: CameraFpsOption = None,
    log_json: LogJsonOption = False,
) -> None:
    """Segment every frame of a source, or of many.

    Where there is a display, a window shows the result; where there is none, it is written
    here: drive.mp4 becomes drive-roadseg.mp4. A file loses no frame; of a camera the newest frame
    wins, and one that goes away comes back. Cameras without a display have a page for the browser.
    Ctrl-C, SIGTERM and SIGHUP end the run and leave a playable file.
    """
    started_s = time.monotonic()
    share_one_arena()
    del web, web_token, config, print_config, policy, max_staleness, stall_timeout
    del max_fps, stride, segment_minutes, keep_gb, record_raw, log_json
    del camera_size, camera_fps  # of live runs alone
    typed = Typed.of(context)
    given = several_sources(sources, source, "run")
    if goes_live(given, typed):
        run_live(given, typed)
        return
    with making_what_stays():
        from roadseg.cli.distinct import check_distinct, file_or_none
        from roadseg.cli.progress_bar import progress_bar
        from roadseg.cli.run_report import report, run_progress
        from roadseg.core.files import claimed_file
        from roadseg.core.size import parse_size
        from roadseg.run.video import RunOptions, open_loop
        from roadseg.video.clips import Roll
        from roadseg.video.meters import Meters
        from roadseg.video.reading import ReadingOptions

    only = one_source(given, None, "run")
    hidden, style = parse_blur(blur, blur_style)
    check_rolls(typed, has_clips=event_clips is not None)
    options = RunOptions(
        source=only,
        output=output,
        save_masks=save_masks,
        show=show,
        measure=stats_json is not None,
        choose_output=True,
        view=view,
        alpha=alpha,
        legend=legend,
        palette=palette,
        hud=hud,
        model=model,
        backend=backend,
        size_hw=None if size is None else parse_size(size),
        threads=threads,
        max_frames=max_frames,
        loop=loop,
        fps=parse_fps(fps),
        stream=stream,
        rtsp_transport=cast("RtspTransport", rtsp_transport),
        reuse=reuse,
        reading=ReadingOptions(
            readouts=readouts,
            timeline=timeline,
            corridor=corridor,
            camera_height_m=camera_height,
            horizon=horizon,
            fov_deg=fov,
            ignore_mask=ignore_mask,
            smooth=smooth,
            blur=hidden,
            blur_style=style,
            doubt=doubt,
            doubt_limit=doubt_limit,
            rules=tuple(event or ()),
            events=events,
            event_clips=event_clips,
            roll=Roll(pre_roll, post_roll),
            groups=tuple(group or ()),
        ),
    )
    check_distinct(
        read=[("--ignore-mask", ignore_mask), ("--model", file_or_none(model))],
        sources=[("--source", only)],
        results=[
            ("--output", output),
            ("--save-masks", save_masks),
            ("--event-clips", event_clips),
        ],
        reports=[("--stats-json", stats_json), ("--timeline", timeline), ("--events", events)],
    )
    with ExitStack() as stack:
        if stats_json is not None:
            stack.enter_context(claimed_file(stats_json, "--stats-json"))
        with progress_bar() as progress:
            meters = Meters(started_s=started_s)
            video_loop = stack.enter_context(open_loop(options, meters=meters, progress=progress))
        try:
            with run_progress(video_loop):
                video_loop.run()
        finally:
            report(video_loop, stats_json)
