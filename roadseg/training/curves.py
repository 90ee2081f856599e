"""What a run looks like: its log as TensorBoard events and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roadseg.errors import SinkError
from roadseg.labels import CLASS_NAMES
from roadseg.training.log import read_log

__all__ = ["Board", "draw_curves"]


class Board:
    """Writes log lines as TensorBoard events; does nothing where TensorBoard is not installed.

    Args:
        folder: of the run; events go into its `tensorboard` folder.
        names: of the classes, by id.
    """

    def __init__(self, folder: Path, names: Sequence[str] = CLASS_NAMES) -> None:
        self._folder, self._names = folder / "tensorboard", tuple(names)
        self._writer: Any = None

    def write(self, line: Mapping[str, Any]) -> None:
        """One line of `log.jsonl`, without what is no number.

        From the first line on, events of an earlier process are hidden.

        Raises:
            SinkError: the events cannot be written.
        """
        epoch = line["epoch"]
        values = {key: value for key, value in line.items() if key not in ("epoch", "step", "iou")}
        for name, iou in zip(self._names, line.get("iou", ()), strict=False):
            values[f"iou/{name}"] = iou
        with self._failures_explained():
            if self._writer is None:
                try:
                    from torch.utils.tensorboard import SummaryWriter
                except ImportError:
                    return
                self._writer = SummaryWriter(str(self._folder), purge_step=epoch)
            for tag, value in values.items():
                if value is not None and math.isfinite(value):
                    self._writer.add_scalar(tag, value, epoch)
            self._writer.flush()

    def close(self) -> None:
        """Finish the file of events.

        Raises:
            SinkError: it cannot be written.
        """
        if self._writer is not None:
            with self._failures_explained():
                self._writer.close()

    @contextmanager
    def _failures_explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as exc:
            raise SinkError(
                f"cannot write {self._folder} ({exc.strerror or exc}): free some space and go on "
                "with --resume"
            ) from exc


def draw_curves(folder: Path, names: Sequence[str] = CLASS_NAMES) -> Path | None:
    """Draw `curves.png` from a run's `log.jsonl`: loss, validation mIoU, and IoU by class.

    Args:
        folder: of the run.
        names: of the classes, by id.

    Returns:
        The picture; None where Matplotlib is not installed.

    Raises:
        SinkError: the picture cannot be written.
    """
    try:
        from matplotlib import colormaps
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    lines = read_log(folder)
    scored = [line for line in lines if "miou" in line]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    losses.plot([x["epoch"] for x in lines], [x["loss"] for x in lines], color="black")
    losses.set(xlabel="epoch", ylabel="training loss")
    epochs = [x["epoch"] for x in scored]
    # The usual ten colours do not suffice.
    scores.set_prop_cycle(color=list(colormaps["tab20"](range(20))))
    for at, name in enumerate(names):
        scores.plot(epochs, [_number(x["iou"][at]) for x in scored], linewidth=0.8, label=name)
    scores.plot(
        epochs, [_number(x["miou"]) for x in scored], color="black", linewidth=2, label="mean"
    )
    scores.set(xlabel="epoch", ylabel="validation IoU", ylim=(0, 1))
    scores.legend(
        fontsize=6,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
        ncols=math.ceil((len(names) + 1) / 24),
    )
    path = folder / "curves.png"
    try:
        figure.savefig(path, dpi=120)
    except OSError as exc:
        raise SinkError(f"cannot write {path} ({exc.strerror or exc}): free some space") from exc
    return path


def _number(value: float | None) -> float:
    return math.nan if value is None else value
