"""What `roadseg run` shows while it runs (stderr) and when it has ended (stdout)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from roadseg.cli.progress_bar import shown

if TYPE_CHECKING:
    from roadseg.video.loop import VideoLoop
    from roadseg.video.stats import Progress, RunStats


@contextmanager
def run_progress(video_loop: VideoLoop) -> Iterator[None]:
    """Show progress of the loop while it runs, where stderr is a terminal.

    It appears with the first frame, which does not wait for rich.
    """
    with ExitStack() as stack:

        def begin(progress: Progress) -> None:
            if not progress.frames_out:
                return
            video_loop.on_progress = show = stack.enter_context(_bar(video_loop))
            if show is not None:
                show(progress)

        video_loop.on_progress = begin
        yield


@contextmanager
def _bar(video_loop: VideoLoop) -> Iterator[Callable[[Progress], None] | None]:
    """A bar, and what moves it; None where stderr is no terminal."""
    from rich import progress as widgets
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield None
        return
    total = video_loop.source.info.frame_count
    rates = widgets.TextColumn("{task.fields[rates]}")
    columns: list[widgets.ProgressColumn]
    if total is None:
        count = widgets.TextColumn("{task.completed} frames")
        columns = [widgets.SpinnerColumn(), count, rates, widgets.TimeElapsedColumn()]
    else:
        count = widgets.TextColumn("{task.completed}/{task.total} frames")
        eta = widgets.TimeRemainingColumn()
        columns = [widgets.BarColumn(), count, rates, widgets.TextColumn("ETA"), eta]
    # Refreshed by hand: the video loop calls often enough, and rich's own thread would compete
    # with inference for the interpreter.
    bar = widgets.Progress(*columns, console=console, transient=True, auto_refresh=False)
    with shown(bar):
        task = bar.add_task("run", total=total, rates="")

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.frames_out, rates=_rates(progress), refresh=True)

        yield show


def report(video_loop: VideoLoop, stats_json: Path | None) -> None:
    """Print warnings and the summary of a run that has ended for whatever reason.

    Raises:
        SinkError: `stats_json` cannot be written.
    """
    from roadseg.core.files import write_json
    from roadseg.core.machine import describe_machine

    stats = video_loop.stats()
    for warning in stats.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if not stats.frames_out:
        return
    if stats_json is not None:
        write_json(stats_json, stats.to_json())
    typer.echo(summary(stats))
    typer.echo(f"on {describe_machine()}")
    for path in video_loop.outputs.written:
        typer.echo(f"written to {path}")


def summary(stats: RunStats) -> str:
    """One line: frames, rate, what ran, latency, drops."""
    height, width = stats.size_hw
    count = f"{stats.frames_out} frame{'' if stats.frames_out == 1 else 's'}"
    lost = f", {stats.frames_lost} lost" if stats.frames_lost else ""
    seen = f", one frame in {stats.reuse}" if stats.reuse > 1 else ""
    return (
        f"{count} at {stats.fps:.1f} FPS ({stats.model} on {stats.backend}, input "
        f"{height}x{width}{seen}), latency {stats.latency_ms.p50:.0f} ms median, "
        f"{stats.latency_ms.p95:.0f} ms p95, {stats.dropped} dropped{lost}"
    )


def _rates(progress: Progress) -> str:
    if math.isnan(progress.fps):
        return ""
    dropped = f", {progress.dropped} dropped" if progress.dropped else ""
    return f"{progress.fps:.1f} FPS, {progress.latency_ms:.0f} ms{dropped}"
