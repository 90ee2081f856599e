"""`roadseg bench`: how fast a source, model and backend are together."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from roadseg.cli.options import (
    BackendOption,
    ModelOption,
    RtspTransportOption,
    SizeOption,
    SourceArgument,
    SourceOption,
    ThreadsOption,
    is_typed,
    one_source,
)

if TYPE_CHECKING:
    from rich.table import Table

    from roadseg.media.sources.base import RtspTransport
    from roadseg.run.bench import BenchReport
    from roadseg.run.ladder import LadderReport
    from roadseg.run.video import RunOptions


def bench(
    context: typer.Context,
    sources: SourceArgument = None,
    source: SourceOption = None,
    model: ModelOption = "segnet-lite",
    backend: BackendOption = "auto",
    size: SizeOption = None,
    threads: ThreadsOption = None,
    rtsp_transport: RtspTransportOption = "auto",
    frames: Annotated[int, typer.Option(metavar="N", help="How many frames to process.")] = 300,
    json_path: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the report here as well.")
    ] = None,
    output: Annotated[
        bool,
        typer.Option(
            "--output/--no-output", help="Encode to H.264 as well (and throw the file away)."
        ),
    ] = True,
    all_rungs: Annotated[
        bool,
        typer.Option(
            "--all",
            help="Measure every network and input that --model auto chooses from, and print their "
            "accuracy beside their speed.",
        ),
    ] = False,
) -> None:
    """Measure frames per second end to end, each stage, and the network alone.

    Overlay, legend and HUD are always drawn. Files shorter than --frames start again. A camera
    can be no faster than it delivers.
    """
    from rich.console import Console

    from roadseg.cli.progress_bar import progress_bar
    from roadseg.core.allocator import share_one_arena
    from roadseg.core.errors import UsageError
    from roadseg.core.files import claim_file, write_json
    from roadseg.core.size import parse_size
    from roadseg.loading.choice import AUTO
    from roadseg.run.bench import bench as run_bench
    from roadseg.run.video import RunOptions

    share_one_arena()
    if all_rungs and model != AUTO and is_typed(context, "model"):
        raise UsageError("--all measures networks of its own", fix="leave --model out")
    options = RunOptions(
        source=one_source(sources, source, "bench"),
        model=model,
        backend=backend,
        size_hw=None if size is None else parse_size(size),
        threads=threads,
        max_frames=frames,
        rtsp_transport=cast("RtspTransport", rtsp_transport),
    )
    if json_path is not None:
        claim_file(json_path)
    if all_rungs:
        _bench_all(options, encode=output, json_path=json_path)
        return
    with progress_bar() as progress:
        result = run_bench(options, encode=output, progress=progress)
    _warn(result.run.warnings)
    typer.echo(_title(result))
    Console().print(_table(result))
    typer.echo(f"on {result.machine}")
    if json_path is not None:
        write_json(json_path, result.to_json())
        typer.echo(f"written to {json_path}")


def _bench_all(options: RunOptions, *, encode: bool, json_path: Path | None) -> None:
    from rich.console import Console

    from roadseg.cli.progress_bar import progress_bar
    from roadseg.core.files import write_json
    from roadseg.run.ladder import bench_ladder

    with progress_bar() as progress:
        result = bench_ladder(options, encode=encode, progress=progress)
    runs = [result.auto.run, *(each.report.run for each in result.rungs)]
    _warn([warning for run in runs for warning in run.warnings])
    Console().print(_ladder_table(result, encode=encode))
    typer.echo(f"on {result.rungs[0].report.machine}")
    if json_path is not None:
        write_json(json_path, result.to_json())
        typer.echo(f"written to {json_path}")


def _warn(warnings: Iterable[str]) -> None:
    """Say each warning once."""
    for warning in dict.fromkeys(warnings):
        typer.echo(f"warning: {warning}", err=True)


def _ladder_table(result: LadderReport, *, encode: bool) -> Table:
    from rich.table import Table

    table = Table()
    table.add_column("network")
    table.add_column("input")
    table.add_column("mIoU", justify="right")
    table.add_column("network alone", justify="right")
    table.add_column("end to end" if encode else "without output", justify="right")
    table.add_column("")

    def add(report: BenchReport, miou: str, remark: str = "") -> None:
        height, width = report.run.size_hw
        size, alone = f"{height}x{width}", f"{report.model_ms:.1f} ms"
        table.add_row(report.run.model, size, miou, alone, f"{report.run.fps:.1f} FPS", remark)

    for each in result.rungs:
        add(each.report, f"{each.rung.miou:.3f}")
    often = "auto" if result.auto.run.reuse == 1 else "auto, every 2nd"
    table.add_section()
    add(result.auto, "", often)
    return table


def _title(result: BenchReport) -> str:
    # Not the table's own, which rich would break where the table comes out narrower.
    run = result.run
    height, width = run.size_hw
    return (
        f"{run.model} {result.precision} on {run.backend}, input {height}x{width}, "
        f"{run.frames_out} frames"
    )


def _table(result: BenchReport) -> Table:
    from rich.table import Table

    run = result.run
    table = Table()
    table.add_column("measured")
    table.add_column("value", justify="right")
    how = "with H.264 output" if result.encoded else "without output"
    table.add_row(f"end to end, {how}", f"{run.fps:.1f} FPS")
    for stage, median_ms in run.stages_ms.items():
        if median_ms is not None:
            table.add_row(f"{stage} (median)", f"{median_ms:.2f} ms")
    table.add_row("network alone (median)", f"{result.model_ms:.2f} ms")
    table.add_row("latency (median)", f"{run.latency_ms.p50:.0f} ms")
    table.add_row("latency (95th percentile)", f"{run.latency_ms.p95:.0f} ms")
    if run.dropped:
        table.add_row("dropped", str(run.dropped))
    if run.peak_rss_mb is not None:
        table.add_row("peak memory", f"{run.peak_rss_mb:.0f} MB")
    return table
