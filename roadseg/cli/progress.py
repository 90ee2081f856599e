"""Progress displays on stderr, shared by the commands that take long."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from roadseg.training.progress import TrainingProgress


class TrainingDisplay:
    """Shows training runs on stderr, one after another; gets their states.

    On a terminal a bar moves. Elsewhere, as under nohup or a scheduler, each epoch gets a line at
    once.

    Args:
        bar: makes a bar; None where there is no terminal.
        lines: give each epoch a line where there is no bar.
    """

    def __init__(self, bar: Callable[[], Bar] | None, *, lines: bool) -> None:
        self._make_bar, self._lines = bar, lines
        self._bar: Bar | None = None
        self._fraction = 0.0

    def __call__(self, state: TrainingProgress) -> None:
        """After a step, or an epoch."""
        from roadseg.training.progress import EpochEnd

        ended = isinstance(state, EpochEnd)
        if self._make_bar is None:
            if isinstance(state, EpochEnd) and self._lines:
                for line in (_line(state), *([state.note] if state.note is not None else [])):
                    typer.echo(line, err=True)  # flushed at once
            return
        if self._bar is None or state.fraction < self._fraction:  # another run
            self.close()
            self._bar = self._make_bar()
            self._bar.start()
            self._task = self._bar.add_task("train", total=1.0, epoch="-", loss="-", miou="")
        self._fraction = state.fraction
        if isinstance(state, EpochEnd):
            if state.note is not None:
                self._bar.console.print(state.note, markup=False, highlight=False)
            if not math.isnan(state.miou):
                self._bar.update(self._task, miou=_validated(state.miou, state.best_miou))
        else:
            self._bar.update(
                self._task,
                completed=state.fraction,
                epoch=_of_all(state.epoch + 1, state.epochs),
                loss="-" if math.isnan(state.loss) else f"{state.loss:.3f}",
                miou=_validated(state.miou, state.best_miou) or "not validated yet",
            )
        if ended and state.fraction >= 1:
            self.close()

    def close(self) -> None:
        """Leave the bar as it is."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _of_all(epoch: int, epochs: int | None) -> str:
    # The last epoch of a run may be cut short, and another one make up for it.
    return str(epoch) if epochs is None else f"{epoch} of {max(epoch, epochs)}"


def _validated(miou: float, best: float) -> str:
    return "" if math.isnan(miou) else f"mIoU {miou:.3f} (best {best:.3f})"


def _line(end: TrainingProgress) -> str:
    """An epoch in words."""
    spent = "" if end.epochs is not None else f" ({end.fraction:.0%} of the time)"
    parts = [
        f"epoch {_of_all(end.epoch, end.epochs)}{spent}: loss {end.loss:.4f}",
        f"learning rate {end.learning_rate:.3g}",
        _validated(end.miou, end.best_miou),
        f"{timedelta(seconds=round(end.left_s or 0))} left",
    ]
    return ", ".join(part for part in parts if part)


@contextmanager
def training_progress(*, shown: bool = True, lines: bool = True) -> Iterator[TrainingDisplay]:
    """Epoch, loss, validation mIoU and the time left; yields what takes the states of a run.

    Args:
        shown: False for a display that shows nothing.
        lines: see `TrainingDisplay`.
    """
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    if not (shown and console.is_terminal):
        yield TrainingDisplay(None, lines=shown and lines)
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
    display = TrainingDisplay(lambda: Bar(*columns, console=console), lines=lines)
    try:
        yield display
    finally:
        display.close()
