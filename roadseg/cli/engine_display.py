"""How far the building of an engine is, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from roadseg.backends.tensorrt.build.builder import BuildProgress

__all__ = ["build_progress", "engine_progress"]

_QUIET_S = 10.0
_PHASE_LETTERS = 40


@contextmanager
def build_progress() -> Iterator[Callable[[BuildProgress], None]]:
    """A bar on stderr that moves also while nothing is heard; lines where it is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.text import Text

    class Eta(ProgressColumn):
        """Counts down while nothing is heard."""

        def render(self, task: Task) -> Text:
            left_s = task.fields["end_s"] - time.monotonic()
            return Text(_about(left_s) if left_s > 0 else "")

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=30),
        TextColumn("{task.percentage:3.0f}%"),
        TimeElapsedColumn(),
        Eta(),
        # Names of layers may be in it, brackets and all.
        TextColumn("{task.fields[phase]}", style="dim", markup=False),
    )
    # Lines of the report appear above the bar where both are on the terminal.
    both = sys.stdout.isatty()
    with Progress(*columns, console=console, transient=True, redirect_stdout=both) as bar:
        task = bar.add_task("", total=1.0, end_s=0.0, phase="")
        stage = ""

        def show(progress: BuildProgress) -> None:
            nonlocal stage
            if progress.stage != stage:
                stage = progress.stage
                bar.reset(task, description=stage)
            end_s = 0.0 if progress.eta_s is None else time.monotonic() + progress.eta_s
            phase = progress.phase[:_PHASE_LETTERS]
            bar.update(task, completed=progress.fraction, end_s=end_s, phase=phase)

        yield show


def _lines() -> Callable[[BuildProgress], None]:
    """A line for each stage, and one every ten seconds."""
    stage, told_s = "", 0.0

    def show(progress: BuildProgress) -> None:
        nonlocal stage, told_s
        if progress.stage != stage:
            stage, told_s = progress.stage, 0.0
            typer.echo(stage, err=True)
        elif progress.elapsed_s - told_s >= _QUIET_S:
            told_s = progress.elapsed_s
            line = f"{stage}: {100 * progress.fraction:.0f}% after {_duration(told_s)}"
            eta = "" if progress.eta_s is None else f", {_about(progress.eta_s)}"
            typer.echo(line + eta, err=True)

    return show


def _about(left_s: float) -> str:
    return f"about {_duration(left_s)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"


@contextmanager
def engine_progress() -> Iterator[Callable[[BuildProgress], None]]:
    """Shows how far the building of an engine is, if one is built; yields the function to call.

    After the block it shows nothing more: another display may have the terminal by then.
    """
    show: Callable[[BuildProgress], None] | None = None
    ended = False
    with ExitStack() as stack:

        def on_progress(progress: BuildProgress) -> None:
            nonlocal show
            if ended:
                return
            if show is None:
                show = stack.enter_context(build_progress())
            show(progress)

        try:
            yield on_progress
        finally:
            ended = True
