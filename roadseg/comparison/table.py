"""The table of a comparison, as Markdown and CSV, beside the paper's figures."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from roadseg.comparison.cost import TRAINING_BATCH
from roadseg.comparison.paper import PAPER_CONDITIONS, PaperFigures, paper_figures
from roadseg.comparison.rows import Row

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

# Where there is no room for all, what says most stays longest.
_IMPORTANCE = (
    *(
        "miou",
        "parameters_m",
        "forward_ms",
        "bf",
        "global_accuracy",
        "class_accuracy",
        "inference_mb",
    ),
    *("training_mb", "backward_ms", "model_mb"),
)

_MEMORY = {
    "cuda": "the allocator's peak",
    "tensors": "the peak of live tensors, without what operations need for themselves",
}


def markdown(
    title: str,
    rows: Sequence[Row],
    conditions: str,
    *,
    paper: bool = True,
    left_out: Sequence[tuple[str, str]] = (),
) -> str:
    """The table for people, padded so that it reads as plain text, too.

    Args:
        title: what is compared.
        rows: the networks.
        conditions: data, size and machine, in words.
        paper: show the paper's figures, which are CamVid's.
        left_out: networks that could not be measured, and why.
    """
    lines = _lines(rows, _COLUMNS, paper)
    # At least a dash and the colon that aligns the column.
    widths = [max(2, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
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
    notes = _notes(rows, conditions, paper)
    if notes:
        text += ["", *notes]
    if left_out:
        text += ["", "Not measured:", *(f"- {model}: {reason}" for model, reason in left_out)]
    if rows:
        text += ["", "Weights:", *(f"- {row.model}: {_origin(row)}" for row in rows)]
    return "\n".join(text) + "\n"


def terminal_text(
    title: str,
    rows: Sequence[Row],
    conditions: str,
    width: int,
    *,
    paper: bool = True,
    left_out: Sequence[tuple[str, str]] = (),
) -> str:
    """The table for a terminal: the columns that say most, as many as there is room for.

    Args:
        title, rows, conditions, paper, left_out: as for `markdown`.
        width: columns of the terminal; a table of names and mIoU alone may need more.
    """
    columns = list(_COLUMNS)
    for name in reversed(_IMPORTANCE):
        lines = _padded(_lines(rows, columns, paper, brief=True))
        if max(len(line) for line in lines) <= width or name == "miou":
            break
        columns = [column for column in columns if column[0] != name]
    dropped = [column[1] for column in _COLUMNS if column not in columns]
    text = [title, ""]
    text += [f"{quick}\n" for quick in dict.fromkeys(row.quick for row in rows if row.quick)]
    text += lines
    if dropped:
        text += ["", f"No room for {', '.join(dropped)}: the files have all columns."]
    notes = _notes(rows, conditions, paper)
    if notes:
        text += ["", *notes]
    if left_out:
        text += ["", "Not measured:", *(f"- {model}: {reason}" for model, reason in left_out)]
    wrapped = (
        line if line in lines else textwrap.fill(line, max(width, 20), break_on_hyphens=False)
        for line in "\n".join(text).split("\n")
    )
    return "\n".join(wrapped) + "\n"


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


_Column = tuple[str, str, int]


def _lines(
    rows: Sequence[Row], columns: Sequence[_Column], paper: bool, *, brief: bool = False
) -> list[list[str]]:
    """Heading and rows, each network's figures above the paper's."""
    lines = [["network", *(heading for _, heading, _ in columns)]]
    for row in rows:
        quick = " (quick)" if row.quick else ""
        lines.append([row.model + quick, *(_cell(row, name, n) for name, _, n in columns)])
        theirs = paper_figures(row.model) if paper else None
        if theirs is not None:
            cells = (_cell(theirs, name, digits) for name, _, digits in columns)
            lines.append(["  in the paper" if brief else _paper_title(theirs), *cells])
    return lines


def _padded(lines: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    padded = []
    for line in lines:
        cells = [line[0].ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)]
        padded.append("  ".join(cells).rstrip())
    return padded


def _notes(rows: Sequence[Row], conditions: str, paper: bool) -> list[str]:
    notes = []
    if rows:
        memory = " and ".join(dict.fromkeys(_MEMORY[row.memory_by] for row in rows))
        notes.append(
            f"Ours: {conditions}; FP32, medians. G, C, mIoU and BF in percent. Times and memory "
            f"are for one image, training memory for {TRAINING_BATCH}, with weights and gradients "
            f"and without the optimiser's state. Memory is {memory}. Model: the weights' file in "
            "FP32."
        )
    if paper and any(paper_figures(row.model) for row in rows):
        notes.append(f"Paper: {PAPER_CONDITIONS}.")
    return notes


def _cell(figures: Row | PaperFigures, name: str, digits: int) -> str:
    value: float | None = getattr(figures, name)
    return "-" if value is None else f"{value:.{digits}f}"


def _paper_title(paper: PaperFigures) -> str:
    kind = "table" if len(paper.tables) == 1 else "tables"
    return f"  paper, {kind} {' and '.join(str(n) for n in paper.tables)}: {paper.title}"


def _origin(row: Row) -> str:
    minutes = "" if row.training_minutes is None else f", {row.training_minutes:.1f} minutes"
    return f"{row.origin}{minutes}; {row.images} frames scored"
