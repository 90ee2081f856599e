"""`roadseg batch`: the results of many clips, and a ledger of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from roadseg.cli.options import BackendOption, ModelOption, SizeOption, parse_fps
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


def batch(
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where results and ledger go.")],
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="SOURCES...",
            show_default=False,
            help="Video files, folders, which are searched with all that is below, quoted "
            "patterns, and URLs of these.",
        ),
    ] = None,
    listed: Annotated[
        Path | None,
        typer.Option("--list", metavar="FILE", help="A text file with a path on each line."),
    ] = None,
    write: Annotated[
        str,
        typer.Option(
            metavar="KIND,...",
            help="What is written for each clip: overlay, masks (one file), png-masks, timeline "
            "and events.",
        ),
    ] = "overlay",
    model: ModelOption = "segnet-lite",
    backend: BackendOption = "auto",
    size: SizeOption = None,
    threads: Annotated[
        int, typer.Option(metavar="N", help="CPU threads of each worker's network.")
    ] = 1,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Processes that work at once; by default one for each core, or one on a GPU.",
        ),
    ] = None,
    view: ViewOption = "overlay",
    alpha: AlphaOption = 0.5,
    legend: LegendOption = True,
    palette: PaletteOption = "street",
    fps: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Frames per second of images and of bare streams."),
    ] = None,
    stream: Annotated[
        int | None,
        typer.Option(metavar="N", help="Which video of files that hold several; the first is 1."),
    ] = None,
    reuse: Annotated[
        int,
        typer.Option(metavar="N", help="The network sees every Nth frame, up to 4."),
    ] = 1,
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
    group: GroupOption = None,
    join: Annotated[
        bool,
        typer.Option(
            "--join",
            help="Clips that a dashcam cut out of one drive are one, by their names and times.",
        ),
    ] = False,
    full_hash: Annotated[
        bool,
        typer.Option(
            "--full-hash",
            help="Know a clip by all of its content, and not by head, middle and tail.",
        ),
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try clips again that failed before.")
    ] = False,
    redo: Annotated[
        bool,
        typer.Option("--redo", help="Do clips again that were done with other options."),
    ] = False,
    attempts: Annotated[
        int,
        typer.Option(
            metavar="N", help="How often a clip is begun whose worker is killed, at most."
        ),
    ] = 3,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Do at most N clips in this run.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Do the Ith of N parts, for schedulers of your own."),
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Work on a Ray cluster: HOST:PORT, auto for the one that this machine belongs to, "
            "local to start one here.",
        ),
    ] = None,
    worker_cpus: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="What each worker takes of a Ray cluster's cores; by default --threads.",
        ),
    ] = None,
    worker_gpus: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="What each worker takes of its GPUs, such as 0.5; by default 1 with TensorRT.",
        ),
    ] = None,
    no_report: Annotated[
        bool,
        typer.Option("--no-report", help="Do not write the page report.html; see roadseg report."),
    ] = False,
    json_: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the summary here.")
    ] = None,
) -> None:
    """Segment every frame of many clips.

    Each clip gets a folder in the output, called like it, which appears when all of it is there.
    ledger.sqlite says what became of each clip. The same command again does what is missing, what
    was cut short, and clips whose content has changed.
    Ctrl-C lets the clips that are worked on end; a second one gives them up.
    """
    from contextlib import ExitStack

    from roadseg.archive.finding import read_list
    from roadseg.archive.report import write_report
    from roadseg.archive.run import process_archive
    from roadseg.archive.spec import ArchiveSpec, ClipSpec, Cluster
    from roadseg.cli.batch_report import archive_progress, report
    from roadseg.core.errors import UsageError
    from roadseg.core.files import claimed_file
    from roadseg.core.size import parse_size
    from roadseg.video.reading import ReadingOptions

    if ray is None and (worker_cpus is not None or worker_gpus is not None):
        name = "--worker-cpus" if worker_cpus is not None else "--worker-gpus"
        raise UsageError(
            f"{name} is what a worker takes of a Ray cluster",
            fix="use it with --ray ADDRESS; here --workers and --threads say how much is used",
        )
    hidden, style = parse_blur(blur, blur_style)
    kinds = [*write.split(","), *(["events"] if event else [])]
    writes = tuple(dict.fromkeys(kind.strip() for kind in kinds if kind.strip()))
    spec = ArchiveSpec(
        sources=tuple(sources or ()),
        listed=() if listed is None else tuple(read_list(listed)),
        clip=ClipSpec(
            output=output,
            writes=writes,
            model=model,
            backend=backend,
            size_hw=None if size is None else parse_size(size),
            threads=threads,
            view=view,
            alpha=alpha,
            legend=legend,
            palette=palette,
            reuse=reuse,
            fps=parse_fps(fps),
            stream=stream,
            reading=ReadingOptions(
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
                groups=tuple(group or ()),
            ),
            full_hash=full_hash,
        ),
        workers=workers,
        attempts=attempts,
        retry_failed=retry_failed,
        redo=redo,
        join=join,
        limit=limit,
        shard=None if shard is None else _parse_shard(shard),
        cluster=None if ray is None else Cluster(ray, worker_cpus, worker_gpus),
    )
    with ExitStack() as stack:
        if json_ is not None:
            stack.enter_context(claimed_file(json_, "--json"))
        progress = stack.enter_context(archive_progress())
        try:
            state = process_archive(spec, on_state=progress.show, on_result=progress.tell)
        finally:
            progress.close()
            if progress.state is not None:
                report(progress.state, output, json_)
        # The shards are one archive, and each may end while others go on.
        if not no_report and spec.shard is None:
            typer.echo(f"shown by {write_report(output).path}")
    if state.exit_code:
        raise typer.Exit(state.exit_code)


def _parse_shard(text: str) -> tuple[int, int]:
    """`"2/8"` to (2, 8).

    Raises:
        UsageError: it is something else.
    """
    import re

    from roadseg.core.errors import UsageError

    match = re.fullmatch("([0-9]{1,6})/([0-9]{1,6})", text.strip())
    if match is None:
        raise UsageError(f"--shard {text} is not I/N", fix="the first of four is --shard 1/4")
    return int(match[1]), int(match[2])
