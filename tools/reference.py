"""`python -m tools.reference` writes docs/reference.md: commands, exit codes and public names.

All of it comes from the code: the options of the command line, the tree of errors, and what
`roadseg.__all__` names. A test compares the page with what this writes.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

import roadseg
from roadseg.cli import app
from roadseg.core import errors

PAGE = Path(__file__).resolve().parent.parent / "docs" / "reference.md"

_HEAD = """# Reference

Written by `python -m tools.reference` from the code; change it there.
"""


def reference() -> str:
    """The whole page."""
    return "\n".join([_HEAD, *_commands(), *_exit_codes(), *_names()]).rstrip() + "\n"


def _commands() -> Iterator[str]:
    yield "## Commands\n"
    group: Any = typer.main.get_command(app)
    for name, command in group.commands.items():
        yield f"### roadseg {name}\n"
        yield f"{_text(command.help)}\n"
        yield "| option | what it is |"
        yield "|---|---|"
        for parameter in command.params:
            if getattr(parameter, "hidden", False) or "--help" in parameter.opts:
                continue
            yield f"| {_names_of(parameter)} | {_text(getattr(parameter, 'help', ''))} |"
        yield ""


def _names_of(parameter: Any) -> str:
    names = [*parameter.opts, *parameter.secondary_opts]
    if not names[0].startswith("-"):
        names = [names[0].upper()]
    return ", ".join(f"`{name}`" for name in names)


def _exit_codes() -> Iterator[str]:
    yield "## Exit codes and errors\n"
    yield "| code | raised in Python | when |"
    yield "|---|---|---|"
    yield "| 0 | | success, also when a damaged clip lost frames (a warning says how many) |"
    yield (
        "| 1 | | an unexpected error, which is a fault of roadseg; of `roadseg doctor`: "
        "`roadseg run` would fail |"
    )
    kinds = [getattr(errors, name) for name in errors.__all__]
    kinds = [k for k in kinds if inspect.isclass(k) and k is not errors.RoadsegError]
    for kind in sorted(kinds, key=lambda k: int(k.exit_code)):
        yield f"| {kind.exit_code} | `{kind.__name__}` | {_text(kind.__doc__)} |"
    yield (
        "| 130, 143, 129 | `KeyboardInterrupt` | ended by Ctrl-C, SIGTERM, SIGHUP; what "
        "`roadseg run` wrote plays |"
    )
    yield ""
    yield (
        "All of them are `roadseg.errors.RoadsegError`: `what` says what is wrong, `fix` what to "
        "do about it, and the message is both in one line.\n"
    )


def _names() -> Iterator[str]:
    yield "## From Python\n"
    for name in roadseg.__all__:
        value = getattr(roadseg, name)
        if inspect.ismodule(value):
            yield f"### roadseg.{name}\n"
            yield f"{_text((value.__doc__ or '').partition(chr(10) * 2)[0])}\n"
        elif inspect.isclass(value) or inspect.isfunction(value):
            yield f"### roadseg.{name}\n"
            yield f"```python\n{name}{_signature(value)}\n```\n"
            yield f"{_doc(value)}\n"
            if inspect.isclass(value):
                yield from _members(name, value)


def _members(owner: str, kind: type) -> Iterator[str]:
    for name, member in vars(kind).items():
        if name.startswith("_") and name != "__call__":
            continue
        function = member.fget if isinstance(member, property) else member
        if isinstance(member, classmethod):
            function = member.__func__
        if not inspect.isfunction(function) or not function.__doc__:
            continue
        shown = name if isinstance(member, property) else f"{name}{_signature(function)}"
        yield f"#### {owner}.{shown}\n"
        yield f"{_doc(function)}\n"


def _signature(value: Any) -> str:
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    parameters = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    text = str(signature.replace(parameters=parameters))
    return re.sub(r"'([^']*)'", r"\1", text)


def _doc(value: Any) -> str:
    """A docstring as it stands, in a block: its sections are laid out by hand."""
    return f"```text\n{inspect.getdoc(value) or ''}\n```"


def _text(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
