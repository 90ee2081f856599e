"""What a run looks like: its log as TensorBoard events and as a picture."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roadseg.errors import SinkError
from roadseg.labels import CLASS_NAMES

__all__ = ["Board", "draw_curves"]

_log = logging.getLogger(__name__)


class Board:
    """Writes log lines as TensorBoard events; does nothing where TensorBoard is not installed.

    Args:
        folder: of the run; events go into its `tensorboard` folder.
        names: of the classes, by id.
    """

    def __init__(self, folder: Path, names: Sequence[str] = CLASS_NAMES) -> None:
        self._names = tuple(names)
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            _log.info("no TensorBoard events are written: pip install tensorboard")
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"))

    def write(self, line: Mapping[str, Any]) -> None:
        """One line of `log.jsonl`."""
        if self._writer is None:
            return
        for key, value in line.items():
            if key == "iou":
                for name, iou in zip(self._names, value, strict=True):
                    self._writer.add_scalar(f"iou/{name}", iou, line["epoch"])
            elif key not in ("epoch", "step"):
                self._writer.add_scalar(key, value, line["epoch"])
        self._writer.flush()

    def close(self) -> None:
        """Finish the file of events."""
        if self._writer is not None:
            self._writer.close()


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
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        _log.info("no curves are drawn: pip install matplotlib")
        return None
    text = (folder / "log.jsonl").read_text(encoding="utf-8")
    lines = [json.loads(line) for line in text.splitlines()]
    scored = [line for line in lines if "miou" in line]
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    losses, scores = figure.subplots(1, 2)
    losses.plot([x["epoch"] for x in lines], [x["loss"] for x in lines], color="black")
    losses.set(xlabel="epoch", ylabel="training loss")
    epochs = [x["epoch"] for x in scored]
    for at, name in enumerate(names):
        scores.plot(epochs, [x["iou"][at] for x in scored], linewidth=0.8, label=name)
    scores.plot(epochs, [x["miou"] for x in scored], color="black", linewidth=2, label="mean")
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
