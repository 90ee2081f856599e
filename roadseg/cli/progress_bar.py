"""How far something is that takes long, on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from roadseg.core.progress import Progress, ShowProgress


_QUIET_S = 10.0
_DETAIL_LETTERS = 40

# The stages of building an engine, which takes minutes: they get lines where there is no terminal.
_WITH_LINES = ("reading", "exporting", "building", "comparing")


@contextmanager
def progress_bar() -> Iterator[ShowProgress]:
    """Shows what it yields is called with: a bar on a terminal, else lines while engines are built.

    The bar appears with the first news and moves also while nothing is heard. After the block
    nothing more is shown: another display may have the terminal by then.
    """
    show: ShowProgress | None = None
    ended = False
    with ExitStack() as stack:

        def on_progress(progress: Progress) -> None:
            nonlocal show
            if ended:
                return
            if show is None:
                show = stack.enter_context(_display())
            show(progress)

        try:
            yield on_progress
        finally:
            ended = True


@contextmanager
def shown(bar: Bar) -> Iterator[Bar]:
    """Shows a bar inside the block.

    As a context manager of rich's own, where Ctrl-C or a closed terminal comes while it starts, it
    would keep stdout and stderr, which it leads around itself, and hide the cursor.
    """
    streams = sys.stdout, sys.stderr
    try:
        bar.start()
    except BaseException:
        sys.stdout, sys.stderr = streams
        bar.console.show_cursor()
        raise
    try:
        yield bar
    finally:
        bar.stop()


@contextmanager
def _display() -> Iterator[ShowProgress]:
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _lines()
        return
    from rich.progress import (
        BarColumn,
        ProgressColumn,
        SpinnerColumn,
        Task,
        TextColumn,
        TimeElapsedColumn,
    )
    from rich.progress import Progress as Bar
    from rich.text import Text

    class Left(ProgressColumn):
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
        Left(),
        # Names of layers may be in it, brackets and all.
        TextColumn("{task.fields[detail]}", style="dim", markup=False),
    )
    # Lines appear above the bar where both are on the terminal.
    both = sys.stdout.isatty()
    with shown(Bar(*columns, console=console, transient=True, redirect_stdout=both)) as bar:
        task = bar.add_task("", total=1.0, end_s=0.0, detail="")
        stage = ""

        def show(progress: Progress) -> None:
            nonlocal stage
            if progress.stage != stage:
                stage = progress.stage
                bar.reset(task, description=stage)
            end_s = 0.0 if progress.left_s is None else time.monotonic() + progress.left_s
            detail = progress.detail[:_DETAIL_LETTERS]
            bar.update(task, completed=progress.fraction, end_s=end_s, detail=detail)

        yield show


def _lines() -> ShowProgress:
    """A line for each stage, and one every ten seconds."""
    stage, shown_s = "", 0.0

    def show(progress: Progress) -> None:
        nonlocal stage, shown_s
        if progress.stage not in _WITH_LINES:
            return
        if progress.stage != stage:
            stage, shown_s = progress.stage, 0.0
            typer.echo(stage, err=True)
        elif progress.elapsed_s - shown_s >= _QUIET_S:
            shown_s = progress.elapsed_s
            line = f"{stage}: {100 * progress.fraction:.0f}% after {_duration(shown_s)}"
            left = "" if progress.left_s is None else f", {_about(progress.left_s)}"
            typer.echo(line + left, err=True)

    return show


def _about(left_s: float) -> str:
    return f"about {_duration(left_s)} left"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min"
