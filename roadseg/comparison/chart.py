"""The chart of a comparison: accuracy, time and memory of every network."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from roadseg.comparison.cost import TRAINING_BATCH
from roadseg.comparison.paper import PAPER_CONDITIONS
from roadseg.comparison.rows import Row
from roadseg.comparison.table import Comparison
from roadseg.core.installing import install

_log = logging.getLogger(__name__)

_INK, _SOFT, _GRID = "#1c2430", "#5c6878", "#e6eaee"
_DARK, _LIGHT, _PAPER = "#1f6fb2", "#9cc3e4", "#8b97a6"
_WARNING = "#b3261e"


def chart_png(comparison: Comparison) -> bytes | None:
    """A picture of a comparison of at least one network, for people.

    Returns:
        A PNG file; None where Matplotlib is not installed.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        _log.info("no chart is drawn: %s", install("train"))
        return None
    rows = comparison.rows
    figure = Figure(figsize=(12, 2.1 + 0.52 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, times, memory = figure.subplots(1, 3, sharey=True, width_ratios=(5, 4, 4))
    has_paper = _draw_accuracy(accuracy, comparison)
    accuracy.set_yticks(range(len(rows)))
    accuracy.set_yticklabels(
        [f"{row.model}\n{row.parameters_m:.2f} M parameters" for row in rows], fontsize=9
    )
    # The first network on top, and half a row of air at both ends.
    accuracy.set_ylim(len(rows) - 0.4, -0.6)
    _draw_times(times, rows)
    _draw_memory(memory, rows)
    for axes in (accuracy, times, memory):
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_PAPER)
        axes.grid(axis="x", color=_GRID)
        axes.set_axisbelow(True)
        axes.tick_params(left=False, colors=_INK, labelsize=9)
    figure.suptitle(comparison.title, x=0.01, ha="left", fontsize=13, fontweight="bold", color=_INK)
    below = f"roadseg: {comparison.conditions}"
    if has_paper:
        below += f"\npaper: {PAPER_CONDITIONS}"
    figure.supxlabel(below, x=0.01, ha="left", fontsize=8, color=_SOFT)
    quick = next((row.quick for row in rows if row.quick), None)
    if quick is not None:
        figure.text(0.99, 0.985, quick, ha="right", va="top", fontsize=10, color=_WARNING)
    file = io.BytesIO()
    figure.savefig(file, dpi=130, format="png")
    return file.getvalue()


def _draw_accuracy(axes: Any, comparison: Comparison) -> bool:
    """Dots for mIoU, joined to the paper's; whether there are any of those."""
    ours = {y: row.miou for y, row in enumerate(comparison.rows) if row.miou is not None}
    theirs: dict[int, float] = {}
    for y, row in enumerate(comparison.rows):
        figures = comparison.figures(row)
        if figures is not None and figures.miou is not None:
            theirs[y] = figures.miou
    for y in ours.keys() & theirs.keys():
        axes.plot([ours[y], theirs[y]], [y, y], color="#c9d3de", zorder=1)
    if theirs:
        _dots(axes, theirs, "paper", color=_PAPER, marker="D", s=34)
    if ours:
        _dots(axes, ours, "roadseg", color=_DARK, s=52, zorder=3)
    for values, colour, above in ((theirs, _SOFT, False), (ours, _INK, True)):
        for y, miou in values.items():
            axes.annotate(
                f"{miou:.1f}",
                (miou, y),
                (0, 7 if above else -8),
                textcoords="offset points",
                ha="center",
                va="bottom" if above else "top",
                fontsize=8,
                color=colour,
            )
    highest = max([*ours.values(), *theirs.values()], default=0.0)
    axes.set(xlim=(0, min(100, 10 * math.ceil((highest + 5) / 10))), xlabel="mIoU, %")
    if ours or theirs:
        _legend(axes)
    return bool(theirs)


def _dots(axes: Any, values: Mapping[int, float], label: str, **style: Any) -> None:
    # A score near 0 lies on the axis and is drawn over it.
    axes.scatter(values.values(), values.keys(), label=label, clip_on=False, **style)


def _draw_times(axes: Any, rows: Sequence[Row]) -> None:
    forward = [row.forward_ms for row in rows]
    backward = [row.backward_ms for row in rows]
    _bars(axes, forward, _DARK, "forward")
    _bars(axes, backward, _LIGHT, "backward", left=forward)
    ends = [a + b for a, b in zip(forward, backward, strict=True)]
    labels = [f"{_short(a)} + {_short(b)}" for a, b in zip(forward, backward, strict=True)]
    _finish(axes, "ms, one image", ends, labels)


def _draw_memory(axes: Any, rows: Sequence[Row]) -> None:
    inference = [row.inference_mb for row in rows]
    training = [row.training_mb for row in rows]
    _bars(axes, inference, _DARK, "inference, one", order=3)
    _bars(axes, training, _LIGHT, f"training, {TRAINING_BATCH} images")
    ends = [max(a, b) for a, b in zip(inference, training, strict=True)]
    labels = [f"{_short(a)}, {_short(b)}" for a, b in zip(inference, training, strict=True)]
    _finish(axes, "MB", ends, labels)


def _bars(
    axes: Any,
    values: Sequence[float],
    colour: str,
    label: str,
    left: Sequence[float] | None = None,
    order: int = 2,
) -> None:
    places = range(len(values))
    axes.barh(places, values, left=left, height=0.46, color=colour, label=label, zorder=order)


def _finish(axes: Any, unit: str, ends: Sequence[float], labels: Sequence[str]) -> None:
    for y, (end, label) in enumerate(zip(ends, labels, strict=True)):
        axes.annotate(
            label, (end, y), (4, 0), textcoords="offset points", va="center", fontsize=8, color=_INK
        )
    # Room for the longest bar's label.
    axes.set_xlim(0, 1.45 * max(ends))
    axes.set_xlabel(unit)
    axes.locator_params(axis="x", nbins=5)
    _legend(axes)


def _legend(axes: Any) -> None:
    # Above the axes, where it hides nothing.
    axes.legend(fontsize=8, frameon=False, loc="lower left", bbox_to_anchor=(-0.02, 0.98), ncols=2)


def _short(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f}"
