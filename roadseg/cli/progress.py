"""Progress displays on stderr, shared by the commands that take long."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from roadseg.engine.build import BuildProgress
    from roadseg.training.loop import Progress

__all__ = ["engine_progress", "say", "training_progress"]


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
                from roadseg.cli.build_engine import build_progress

                show = stack.enter_context(build_progress())
            show(progress)

        try:
            yield on_progress
        finally:
            ended = True


@contextmanager
def training_progress(*, shown: bool = True) -> Iterator[Callable[[Progress], None]]:
    """A bar with epoch, loss, validation mIoU and ETA; yields the function to call per step."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.percentage:5.1f}%"),
        TextColumn("loss {task.fields[loss]:.3f}"),
        TextColumn("mIoU {task.fields[miou]:.3f} (best {task.fields[best]:.3f})"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    nan = float("nan")
    with Bar(*columns, console=Console(stderr=True), disable=not shown) as bar:
        task = bar.add_task("train", total=1.0, epoch=0, loss=nan, miou=nan, best=nan)

        def on_step(state: Progress) -> None:
            bar.update(
                task,
                completed=state.fraction,
                epoch=state.epoch,
                loss=state.loss,
                miou=state.miou,
                best=state.best_miou,
            )

        yield on_step


def say(line: str) -> None:
    """Like `typer.echo`, which would write past a bar and into its line."""
    sys.stdout.write(f"{line}\n")
