"""Progress displays on stderr, shared by the commands that take long."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from roadseg.training.progress import EpochEnd, Progress

__all__ = ["TrainingDisplay", "say", "training_progress"]


class TrainingDisplay:
    """Shows a training run on stderr; called after every step.

    On a terminal a bar moves. Elsewhere, as under nohup or a scheduler, each epoch gets a line at
    once.
    """

    def __init__(self, bar: Bar | None, *, shown: bool) -> None:
        self._bar, self._shown = bar, shown
        if bar is not None:
            self._task = bar.add_task("train", total=1.0, epoch="-", loss="-", miou="")

    def __call__(self, state: Progress) -> None:
        """After a step."""
        if self._bar is None:
            return
        self._bar.update(
            self._task,
            completed=state.fraction,
            epoch=_of_all(state.epoch + 1, state.epochs),
            loss="-" if math.isnan(state.loss) else f"{state.loss:.3f}",
            miou=_validated(state.miou, state.best_miou) or "not validated yet",
        )

    def epoch_ended(self, end: EpochEnd) -> None:
        """After an epoch."""
        if self._bar is not None:
            if end.note is not None:
                self._bar.console.print(end.note, markup=False, highlight=False)
            if not math.isnan(end.miou):
                self._bar.update(self._task, miou=_validated(end.miou, end.best_miou))
        elif self._shown:
            for line in (_line(end), *([end.note] if end.note is not None else [])):
                typer.echo(line, err=True)  # flushed at once


def _of_all(epoch: int, epochs: int | None) -> str:
    # The last epoch of a run may be cut short, and another one make up for it.
    return str(epoch) if epochs is None else f"{epoch} of {max(epoch, epochs)}"


def _validated(miou: float, best: float) -> str:
    return "" if math.isnan(miou) else f"mIoU {miou:.3f} (best {best:.3f})"


def _line(end: EpochEnd) -> str:
    """An epoch in words."""
    spent = "" if end.epochs is not None else f" ({end.fraction:.0%} of the time)"
    parts = [
        f"epoch {_of_all(end.epoch, end.epochs)}{spent}: loss {end.loss:.4f}",
        f"learning rate {end.learning_rate:.3g}",
        _validated(end.miou, end.best_miou),
        f"{timedelta(seconds=round(end.left_s))} left",
    ]
    return ", ".join(part for part in parts if part)


@contextmanager
def training_progress(*, shown: bool = True) -> Iterator[TrainingDisplay]:
    """Epoch, loss, validation mIoU and the time left; yields what to call per step and epoch."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield TrainingDisplay(None, shown=shown)
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"),
        BarColumn(),
        TextColumn("{task.percentage:5.1f}%"),
        TextColumn("loss {task.fields[loss]}"),
        TextColumn("{task.fields[miou]}"),
        TimeElapsedColumn(),
        TextColumn("ETA"),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Bar(*columns, console=console) as bar:
        yield TrainingDisplay(bar, shown=True)


def say(line: str) -> None:
    """Like `typer.echo`, which would write past a bar and into its line."""
    sys.stdout.write(f"{line}\n")
