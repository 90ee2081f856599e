"""What `roadseg batch` shows while it runs (stderr) and when it has ended (stdout)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from roadseg.cli.progress_bar import shown

if TYPE_CHECKING:
    from roadseg.archive.result import ClipResult
    from roadseg.archive.state import ArchiveState


_FAILURES = 20


class ArchiveProgress:
    """Shows how far an archive is: a bar on a terminal, else a line for each clip that failed.

    Args:
        bar: of rich; None where stderr is not a terminal.

    Attributes:
        state: the latest; None before the first.
    """

    def __init__(self, bar: Any = None) -> None:
        self.state: ArchiveState | None = None
        self._bar = bar
        self._task = None if bar is None else bar.add_task("clips", total=None, rates="", going="")

    def show(self, state: ArchiveState) -> None:
        """How far it is."""
        self.state = state
        if self._bar is None:
            return
        self._bar.update(
            self._task,
            total=state.clips,
            completed=state.clips - state.left,
            rates=_rates(state),
            going=", ".join(each.clip.name for each in state.going[:3]),
            refresh=True,
        )

    def tell(self, result: ClipResult) -> None:
        """What became of a clip, if that is worth a line."""
        if result.state == "failed":
            fix = f": {result.fix}" if result.fix else ""
            typer.echo(f"failed: {_failure(result)}{fix}", err=True)

    def close(self) -> None:
        """Take the bar away; a second call does nothing."""
        if self._bar is not None:
            self._bar.stop()


@contextmanager
def archive_progress() -> Iterator[ArchiveProgress]:
    """Progress over a whole archive, where stderr is a terminal."""
    from rich import progress as widgets
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield ArchiveProgress()
        return
    columns = (
        widgets.BarColumn(bar_width=30),
        widgets.TextColumn("{task.completed}/{task.total} clips"),
        widgets.TextColumn("{task.fields[rates]}"),
        # Names of clips may have brackets.
        widgets.TextColumn("{task.fields[going]}", style="dim", markup=False),
    )
    # Lines appear above the bar.
    bar = widgets.Progress(*columns, console=console, transient=True, auto_refresh=False)
    with shown(bar):
        yield ArchiveProgress(bar)


def report(state: ArchiveState, output: Path, json_: Path | None) -> None:
    """Print what there is now, and write it down.

    Raises:
        SinkError: `json_` cannot be written.
    """
    from roadseg.core.files import write_json

    if json_ is not None:
        write_json(json_, state.to_json())
    typer.echo(summary(state))
    for result in state.failures[:_FAILURES]:
        typer.echo(f"failed ({result.exit_code}): {_failure(result)}")
    if len(state.failures) > _FAILURES:
        typer.echo(f"and {len(state.failures) - _FAILURES} more; the ledger has them all")
    typer.echo(f"written to {output}")


def summary(state: ArchiveState) -> str:
    """One line: clips, failures, frames, rate."""
    parts = [f"{state.done} of {state.clips} clips done"]
    if state.failed:
        parts.append(f"{state.failed} failed")
    if state.skipped:
        parts.append(f"{state.skipped} are parts of drives")
    if state.left:
        parts.append(f"{state.left} left")
    lost = f", {state.frames_lost} lost" if state.frames_lost else ""
    parts.append(f"{state.frames_out} frames{lost}")
    if state.processed:
        parts.append(
            f"{state.processed} in this run in {_duration(state.elapsed_s)}, "
            f"{state.times_real_time:.1f} times real time"
        )
    return "; ".join(parts)


def _failure(result: ClipResult) -> str:
    """What went wrong with which clip, which most errors name."""
    return result.error if result.clip in result.error else f"{result.clip}: {result.error}"


def _rates(state: ArchiveState) -> str:
    parts = []
    if state.failed:
        parts.append(f"{state.failed} failed")
    if state.played_s:
        parts.append(f"{state.times_real_time:.1f}x real time")
    if state.left_s is not None and state.left:
        parts.append(f"ETA {_duration(state.left_s)}")
    return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
