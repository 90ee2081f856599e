"""What a run looks like: its log as TensorBoard events and as a picture."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roadseg.core.files import writing
from roadseg.core.labels import CLASS_NAMES
from roadseg.training.log import read_log, to_go_on


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
        with writing(self._folder, to_go_on()):
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
            with writing(self._folder, to_go_on()):
                self._writer.close()


def draw_curves(folder: Path, names: Sequence[str] = CLASS_NAMES) -> Path | None:
    """Draw `curves.png` from a run's `log.jsonl`.

    On the left the loss, with a line wherever the run went back to an earlier checkpoint, above the
    learning rate and the norm of the gradients; on the right the validation IoU, mean and by class.

    Args:
        folder: of the run.
        names: of the classes, by id.

    Returns:
        The picture; None where Matplotlib is not installed.

    Raises:
        SinkError: the picture cannot be written.
    """
    try:
        figure = _figure(read_log(folder), names)
    except ImportError:
        return None
    path = folder / "curves.png"
    with writing(path, "free some space"):
        figure.savefig(path, dpi=120)
    return path


def _figure(lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes: dict[str, Any] = figure.subplot_mosaic(
        [["loss", "iou"], ["rate", "iou"]], height_ratios=(3, 2)
    )
    _draw_loss(axes["loss"], lines)
    _draw_rate(axes["rate"], lines)
    _draw_iou(axes["iou"], lines, names)
    epochs = [line["epoch"] for line in lines] or [1]
    last = epochs[-1] + max(0.5, (epochs[-1] - epochs[0]) / 40)
    for each in axes.values():
        # All epochs in each: a single validation has no range of its own.
        each.set_xlim(epochs[0] - 0.5, last)
        each.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    return figure


def _draw_loss(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    _plot(axes, lines, "loss", color="black")
    for line in lines:
        if "returned_to" in line:
            axes.axvline(line["epoch"], color="red", linewidth=0.8)
            text = f"back to {line['returned_to']}"
            at = (line["epoch"], 1)
            axes.annotate(text, at, xycoords=("data", "axes fraction"), fontsize=6, color="red")
    axes.set(xlabel="epoch", ylabel="training loss")


def _draw_rate(axes: Any, lines: Sequence[Mapping[str, Any]]) -> None:
    # Logs of earlier versions have neither.
    _plot(axes, lines, "learning_rate", color="tab:blue")
    axes.set(xlabel="epoch")
    axes.set_ylabel("learning rate", color="tab:blue")
    norms = axes.twinx()
    _plot(norms, lines, "gradient_norm", color="tab:orange")
    norms.set_ylabel("gradient norm", color="tab:orange")


def _draw_iou(axes: Any, lines: Sequence[Mapping[str, Any]], names: Sequence[str]) -> None:
    from matplotlib import colormaps

    scored = [line for line in lines if "miou" in line]
    axes.set(xlabel="epoch", ylabel="validation IoU", ylim=(0, 1))
    if not scored:
        axes.text(0.5, 0.5, "not validated yet", transform=axes.transAxes, ha="center")
        return
    # The usual ten colours do not suffice.
    axes.set_prop_cycle(color=list(colormaps["tab20"](range(20))))
    for at, name in enumerate(names):
        classes = [{"epoch": x["epoch"], "iou": x["iou"][at]} for x in scored]
        _plot(axes, classes, "iou", linewidth=0.8, label=name)
    _plot(axes, scored, "miou", color="black", linewidth=2, label="mean")
    axes.legend(
        fontsize=6,
        loc="center left",
        bbox_to_anchor=(1, 0.5),
        frameon=False,
        ncols=math.ceil((len(names) + 1) / 24),
    )


def _plot(axes: Any, lines: Sequence[Mapping[str, Any]], key: str, **style: Any) -> None:
    """One curve over epochs; a single value is a point."""
    found = [(x["epoch"], _number(x[key])) for x in lines if key in x]
    marker = "o" if len(found) == 1 else None
    axes.plot([x for x, _ in found], [y for _, y in found], marker=marker, **style)


def _number(value: float | None) -> float:
    return math.nan if value is None else value
