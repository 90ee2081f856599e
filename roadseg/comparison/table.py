"""A finished comparison, and its table as Markdown and CSV, beside the paper's figures."""

from __future__ import annotations

import csv
import io
import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from roadseg.comparison.cost import TRAINING_BATCH
from roadseg.comparison.paper import PAPER_CONDITIONS, PaperFigures, paper_figures
from roadseg.comparison.rows import Row
from roadseg.core.errors import RoadsegError

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

_Column = tuple[str, str, int]


@dataclass(frozen=True)
class Failure:
    """A network that could not be measured: its name, and the error's kind and message."""

    model: str
    error: type[RoadsegError]
    message: str


@dataclass(frozen=True)
class Comparison:
    """A finished comparison.

    Attributes:
        title: what is compared.
        conditions: data, size and machine, in words.
        paper: whether the paper's figures stand beside ours: they are CamVid's.
        rows, failures: what was measured, and what was not and why.
        files: what was written.
    """

    title: str
    conditions: str
    paper: bool
    rows: tuple[Row, ...]
    failures: tuple[Failure, ...] = ()
    files: tuple[Path, ...] = ()

    def figures(self, row: Row) -> PaperFigures | None:
        """What the paper says of a row's network, where its figures are shown."""
        return paper_figures(row.model) if self.paper else None

    @property
    def table(self) -> str:
        """All of it as Markdown, padded so that it reads as plain text, too."""
        lines = self._lines(_COLUMNS)
        # At least a dash and the colon that aligns the column.
        widths = [max(2, *(len(line[i]) for line in lines)) for i in range(len(lines[0]))]
        text = ["# " + self.title, ""]
        for quick in self._quick():
            text += [f"**{quick}**", ""]
        for number, line in enumerate(lines):
            text.append(f"| {' | '.join(_padded(line, widths))} |")
            if number == 0:
                rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
                text.append("| " + " | ".join(rules) + " |")
        text += self._notes()
        if self.rows:
            text += ["", "Weights:", *(f"- {row.model}: {_origin(row)}" for row in self.rows)]
        return "\n".join(text) + "\n"

    def for_terminal(self, width: int) -> str:
        """The columns that say most, as many as there is room for, of so many characters."""
        columns = list(_COLUMNS)
        for name in reversed(_IMPORTANCE):
            cells = self._lines(columns, brief=True)
            widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
            lines = ["  ".join(_padded(line, widths)).rstrip() for line in cells]
            if max(len(line) for line in lines) <= width or name == "miou":
                break
            columns = [column for column in columns if column[0] != name]
        dropped = [column[1] for column in _COLUMNS if column not in columns]
        text = [self.title, "", *(f"{quick}\n" for quick in self._quick()), *lines]
        if dropped:
            text += ["", f"No room for {', '.join(dropped)}: the files have all columns."]
        text += self._notes()
        wrapped = (
            line if line in lines else textwrap.fill(line, max(width, 20), break_on_hyphens=False)
            for line in "\n".join(text).split("\n")
        )
        return "\n".join(wrapped) + "\n"

    @property
    def csv(self) -> str:
        """The table for programs: a line per network, the paper's figures as `paper_...`."""
        file = io.StringIO()
        names = [*Row.__dataclass_fields__, "paper_tables", *(f"paper_{n}" for n, _, _ in _COLUMNS)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        for row in self.rows:
            figures = self.figures(row)
            theirs: dict[str, object] = {}
            if figures is not None:
                theirs = {f"paper_{name}": getattr(figures, name) for name, _, _ in _COLUMNS}
                theirs["paper_tables"] = " ".join(str(number) for number in figures.tables)
            writer.writerow({**asdict(row), **theirs})
        return file.getvalue()

    def _quick(self) -> list[str]:
        return list(dict.fromkeys(row.quick for row in self.rows if row.quick))

    def _lines(self, columns: Sequence[_Column], *, brief: bool = False) -> list[list[str]]:
        """Heading and rows, each network's figures above the paper's."""
        lines = [["network", *(heading for _, heading, _ in columns)]]
        for row in self.rows:
            quick = " (quick)" if row.quick else ""
            lines.append([row.model + quick, *(_cell(row, name, n) for name, _, n in columns)])
            theirs = self.figures(row)
            if theirs is not None:
                cells = (_cell(theirs, name, digits) for name, _, digits in columns)
                lines.append(["  in the paper" if brief else _paper_title(theirs), *cells])
        return lines

    def _notes(self) -> list[str]:
        """What stands below the table, each part behind an empty line."""
        notes = []
        if self.rows:
            memory = " and ".join(dict.fromkeys(_MEMORY[row.memory_by] for row in self.rows))
            notes.append(
                f"Ours: {self.conditions}; FP32, medians. G, C, mIoU and BF in percent. Times and "
                f"memory are for one image, training memory for {TRAINING_BATCH}, with weights "
                f"and gradients and without the optimiser's state. Memory is {memory}. Model: the "
                "weights' file in FP32."
            )
        if any(self.figures(row) for row in self.rows):
            notes.append(f"Paper: {PAPER_CONDITIONS}.")
        left_out = [f"- {failure.model}: {failure.message}" for failure in self.failures]
        above = ["", *notes] if notes else []
        return [*above, "", "Not measured:", *left_out] if left_out else above


def _padded(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    cells = (cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True))
    return [line[0].ljust(widths[0]), *cells]


def _cell(figures: Row | PaperFigures, name: str, digits: int) -> str:
    value: float | None = getattr(figures, name)
    return "-" if value is None else f"{value:.{digits}f}"


def _paper_title(paper: PaperFigures) -> str:
    kind = "table" if len(paper.tables) == 1 else "tables"
    return f"  paper, {kind} {' and '.join(str(n) for n in paper.tables)}: {paper.title}"


def _origin(row: Row) -> str:
    minutes = "" if row.training_minutes is None else f", {row.training_minutes:.1f} minutes"
    return f"{row.origin}{minutes}; {row.images} frames scored"
