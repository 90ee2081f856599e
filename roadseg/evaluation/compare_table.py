"""The table of a comparison, as Markdown, CSV and a chart, beside the paper's figures."""

from __future__ import annotations

import csv
import io
import logging
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from roadseg.errors import SinkError
from roadseg.evaluation.compare_paper import PaperFigures, paper_figures
from roadseg.evaluation.compare_rows import Row

__all__ = ["csv_text", "draw_chart", "markdown", "write_text_file"]

_log = logging.getLogger(__name__)

# Attribute, heading, decimals.
_COLUMNS = (
    ("global_accuracy", "G", 1),
    ("class_accuracy", "C", 1),
    ("miou", "mIoU", 1),
    ("bf", "BF", 1),
    ("parameters_m", "params M", 3),
    ("forward_ms", "forward ms", 1),
    ("backward_ms", "backward ms", 1),
    ("training_mb", "training MB", 0),
    ("inference_mb", "inference MB", 0),
    ("model_mb", "model MB", 1),
)

_MEMORY = {
    "cuda": "the allocator's peak",
    "tensors": "the peak of live tensors, without what operations need for themselves",
}


def markdown(title: str, rows: Sequence[Row], conditions: str, *, paper: bool = True) -> str:
    """The table for people, padded so that it reads as plain text, too.

    Args:
        title: what is compared.
        rows: the networks.
        conditions: data, size and machine, in words.
        paper: show the paper's figures, which are CamVid's.
    """
    lines = [["network", *(heading for _, heading, _ in _COLUMNS)]]
    for row in rows:
        quick = " (quick)" if row.quick else ""
        lines.append([row.model + quick, *(_cell(row, name, n) for name, _, n in _COLUMNS)])
        theirs = paper_figures(row.model) if paper else None
        if theirs is not None:
            cells = (_cell(theirs, name, digits) for name, _, digits in _COLUMNS)
            lines.append([_paper_title(theirs), *cells])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["# " + title, ""]
    for quick in dict.fromkeys(row.quick for row in rows if row.quick):
        text += [f"**{quick}**", ""]
    for number, line in enumerate(lines):
        padded = [line[0].ljust(widths[0])]
        padded += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        text.append("| " + " | ".join(padded) + " |")
        if number == 0:
            rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
            text.append("| " + " | ".join(rules) + " |")
    shown = paper and any(paper_figures(row.model) for row in rows)
    memory = " and ".join(dict.fromkeys(_MEMORY[row.memory_by] for row in rows))
    text += [
        "",
        f"Ours: {conditions}; FP32, one image at a time, medians. Memory: {memory}; for training "
        "with weights and gradients, without the optimiser. Model: the weights' file in FP32.",
        *(["Paper: CamVid's 233 test frames, 360x480, NVIDIA Titan."] if shown else []),
        "",
        "Weights:",
        *(f"- {row.model}: {_origin(row)}" for row in rows),
    ]
    return "\n".join(text) + "\n"


def csv_text(rows: Sequence[Row], *, paper: bool = True) -> str:
    """The table for programs: a line per network, the paper's figures as `paper_...`."""
    file = io.StringIO()
    names = [*Row.__dataclass_fields__, "paper_tables", *(f"paper_{n}" for n, _, _ in _COLUMNS)]
    writer = csv.DictWriter(file, names, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        figures = paper_figures(row.model) if paper else None
        theirs: dict[str, object] = {}
        if figures is not None:
            theirs = {f"paper_{name}": getattr(figures, name) for name, _, _ in _COLUMNS}
            theirs["paper_tables"] = " ".join(str(number) for number in figures.tables)
        writer.writerow({**asdict(row), **theirs})
    return file.getvalue()


def draw_chart(path: Path, title: str, rows: Sequence[Row], *, paper: bool = True) -> Path | None:
    """Accuracy, time and memory of every network as a picture.

    Returns:
        The picture; None where Matplotlib is not installed.

    Raises:
        SinkError: it cannot be written.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        _log.info("no chart is drawn: pip install matplotlib")
        return None
    figure = Figure(figsize=(11, 1.6 + 0.5 * len(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    accuracy, times, memory = figure.subplots(1, 3, sharey=True, width_ratios=(5, 3, 3))
    places = range(len(rows))
    ours = [(row.miou, y) for y, row in enumerate(rows) if row.miou is not None]
    theirs = []
    for y, row in enumerate(rows):
        figures = paper_figures(row.model) if paper else None
        if figures is None or figures.miou is None:
            continue
        theirs.append((figures.miou, y))
        if row.miou is not None:
            accuracy.plot([row.miou, figures.miou], [y, y], color="#b8c2cc", zorder=1)
    if theirs:
        accuracy.scatter(
            *zip(*theirs, strict=True), color="#8b97a6", marker="D", s=36, label="paper"
        )
    if ours:
        accuracy.scatter(*zip(*ours, strict=True), color="#1f6fb2", s=52, label="roadseg")
    for miou, y in ours:
        accuracy.annotate(
            f"{miou:.1f}", (miou, y), (0, 7), textcoords="offset points", ha="center", fontsize=8
        )
    accuracy.set(xlim=(0, 100), xlabel="mIoU, %", yticks=places)
    accuracy.set_yticklabels([row.model for row in rows])
    accuracy.margins(y=0.12)
    accuracy.invert_yaxis()
    if ours or theirs:
        _legend(accuracy)
    _stack(times, rows, ("forward_ms", "backward_ms"), "ms an image", ("forward", "backward"))
    _overlap(memory, rows, ("training_mb", "inference_mb"), "MB", ("training", "inference"))
    for axes in (accuracy, times, memory):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="x", color="#e6eaee")
        axes.set_axisbelow(True)
    quick = next((row.quick for row in rows if row.quick), "")
    figure.suptitle(title + (f"\n{quick}" if quick else ""), fontsize=11)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        figure.savefig(temporary, dpi=130, format="png")
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise _failure(path, exc) from exc
    return path


def write_text_file(path: Path, text: str) -> None:
    """Write a table; the file appears under its name only when it is complete.

    Raises:
        SinkError: it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise _failure(path, exc) from exc


def _stack(
    axes: object, rows: Sequence[Row], names: tuple[str, str], unit: str, labels: tuple[str, str]
) -> None:
    first, second = ([getattr(row, name) for row in rows] for name in names)
    _bars(axes, first, None, "#1f6fb2", labels[0])
    _bars(axes, second, first, "#9cc3e4", labels[1])
    _finish(axes, unit)


def _overlap(
    axes: object, rows: Sequence[Row], names: tuple[str, str], unit: str, labels: tuple[str, str]
) -> None:
    large, small = ([getattr(row, name) for row in rows] for name in names)
    _bars(axes, large, None, "#9cc3e4", labels[0])
    _bars(axes, small, None, "#1f6fb2", labels[1])
    _finish(axes, unit)


def _bars(
    axes: object, values: Sequence[float], left: Sequence[float] | None, colour: str, label: str
) -> None:
    axes.barh(  # type: ignore[attr-defined]
        range(len(values)), values, left=left, height=0.5, color=colour, label=label
    )


def _finish(axes: object, unit: str) -> None:
    axes.set_xlabel(unit)  # type: ignore[attr-defined]
    axes.tick_params(left=False)  # type: ignore[attr-defined]
    _legend(axes)


def _legend(axes: object) -> None:
    # Above the axes, where it hides nothing.
    axes.legend(  # type: ignore[attr-defined]
        fontsize=8, frameon=False, loc="lower right", bbox_to_anchor=(1, 0.98), ncols=2
    )


def _cell(figures: Row | PaperFigures, name: str, digits: int) -> str:
    value: float | None = getattr(figures, name)
    return "-" if value is None else f"{value:.{digits}f}"


def _paper_title(paper: PaperFigures) -> str:
    kind = "table" if len(paper.tables) == 1 else "tables"
    return f"  paper, {kind} {' and '.join(str(n) for n in paper.tables)}: {paper.title}"


def _origin(row: Row) -> str:
    minutes = "" if row.training_minutes is None else f", {row.training_minutes:.1f} minutes"
    return f"{row.origin}{minutes}; {row.images} frames scored"


def _failure(path: Path, exc: OSError) -> SinkError:
    return SinkError(
        f"cannot write {path}: {exc.strerror or exc}; free some space, or choose another --output"
    )
