"""`roadseg doctor`: what is installed, what is missing, and how to put it right."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.text import Text

    from roadseg.doctor import Finding, Report

_TITLE_WIDTH = 16
_MARK_WIDTH = 4
_INDENT = _MARK_WIDTH + 1 + _TITLE_WIDTH + 1


def doctor(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as JSON, for programs.")
    ] = False,
) -> None:
    """Look for what would keep 'roadseg run' from working, and say what to do about it.

    The exit code is 1 if 'roadseg run' with the default backend would fail, else 0.
    """
    from rich.console import Console

    from roadseg.doctor import diagnose

    console = Console(highlight=False)
    if as_json:
        import json

        report = diagnose()
        typer.echo(json.dumps(report.to_json(), indent=2, allow_nan=False))
    else:
        with console.status("Looking at this machine ..."):
            report = diagnose()
        for line in _lines(report, console.width):
            # Commands are not broken into lines: what is copied from the screen must be whole.
            console.print(line, soft_wrap=True)
    if report.run_would_fail:
        raise typer.Exit(1)


def _lines(report: Report, width: int) -> Iterator[Text]:
    from rich.text import Text

    yield Text(f"roadseg {report.version}, {report.system}")
    yield Text()
    for finding in report.findings:
        yield from _finding_lines(finding, width)
    yield Text()
    if report.run_would_fail:
        count = len(report.problems)
        yield Text(
            f"'roadseg run' would fail: {count} problem{'' if count == 1 else 's'} to fix.",
            style="bold red",
        )
    else:
        yield Text(f"'roadseg run' works, with the backend {report.backend}.", style="bold green")


def _finding_lines(finding: Finding, width: int) -> Iterator[Text]:
    from rich.text import Text

    mark, style = {
        "ok": ("ok", "green"),
        "note": ("note", "yellow" if finding.fix else "dim"),
        "problem": ("FAIL", "bold red"),
    }[finding.level.value]
    lines = textwrap.wrap(
        finding.text,
        max(width - _INDENT, 30),
        break_long_words=False,
        break_on_hyphens=False,
    )
    for number, line in enumerate(lines):
        text = Text()
        if number == 0:
            text.append(mark.ljust(_MARK_WIDTH + 1), style)
            text.append(finding.title.ljust(_TITLE_WIDTH + 1))
        else:
            text.append(" " * _INDENT)
        text.append(line, "dim" if style == "dim" else None)
        yield text
    if finding.fix:  # in one line, which a terminal folds: a command in it can be copied whole
        yield Text.assemble(" " * (_MARK_WIDTH + 1), ("fix: ", "bold"), finding.fix)
