"""Commands whose help is the same under every version of typer, and reads well at any width."""

from __future__ import annotations

import difflib
import functools
import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

from typer.core import TyperCommand, TyperGroup

from roadseg.core.garbage import making_what_stays

# What stands beside an option that names nothing better. Versions of typer differ in their words.
_METAVARS = {
    "text": "NAME",
    "str": "NAME",
    "path": "PATH",
    "integer": "N",
    "int": "N",
    "float": "NUMBER",
}


class _Named:
    """Gives each option a metavar; a flag, which takes no value, gets none.

    An argument has its name beside it already.
    """

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Takes the arguments apart; some versions of typer load much for that."""
        with making_what_stays():
            return super().make_context(*args, **kwargs)  # type: ignore[misc]

    def get_params(self, ctx: Any) -> list[Any]:
        params: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if type_name(param, ctx) == "path" and "process_value" not in vars(param):
                param.process_value = functools.partial(_not_empty, param, param.process_value)
            if param.param_type_name == "argument":
                param.display_type_rich = _nothing
            elif getattr(param, "is_flag", False):
                param.metavar = ""
            elif param.metavar is None:
                param.metavar = _METAVARS.get(type_name(param, ctx).removesuffix(" range"))
        return params

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Without the dots of arguments that take several: what takes one says so itself."""
        pieces: list[str] = super().collect_usage_pieces(ctx)  # type: ignore[misc]
        return [piece.removesuffix("...") if piece[0] == "[" else piece for piece in pieces]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Does without the `--no-` of flags that are off by default: it has no room."""
        off = [
            param
            for param in self.get_params(ctx)
            if getattr(param, "is_flag", False) and param.default is False
        ]
        negations = [param.secondary_opts for param in off]
        for param in off:
            param.secondary_opts = []
        try:
            super().format_help(ctx, formatter)  # type: ignore[misc]
        finally:
            for param, negation in zip(off, negations, strict=True):
                param.secondary_opts = negation


def _not_empty(param: Any, process: Callable[[Any, Any], Any], ctx: Any, value: Any) -> Any:
    """The value of an option that names files. An empty path would mean the current folder.

    Raises:
        UsageError: it is empty, such as a variable of the shell that is not set.
    """
    if value == "" or (isinstance(value, (list, tuple)) and "" in value):
        from roadseg.core.errors import UsageError

        is_argument = param.param_type_name == "argument"
        name = (param.metavar or param.name.upper()) if is_argument else max(param.opts, key=len)
        instead = "" if param.required else ", or leave it out"
        raise UsageError(f"{name} is empty", fix=f"give a path{instead}")
    return process(ctx, value)


def _nothing(ctx: Any) -> str:  # noqa: ARG001
    return ""


def type_name(param: Any, ctx: Any) -> str:
    """What click calls the values of an option or argument, such as `path`."""
    if hasattr(param, "type"):
        return str(param.type.name)
    return str(param.display_type(ctx)).strip("<>")


class RoadsegCommand(_Named, TyperCommand):
    """One command."""


class RoadsegGroup(_Named, TyperGroup):
    """`roadseg` itself."""


def flowing(text: str | None) -> str:
    """A docstring whose paragraphs are broken by the terminal, not where the source is.

    >>> flowing('''First.
    ...
    ...     Second
    ...     paragraph.''')
    'First.\\n\\nSecond paragraph.'
    """
    return re.sub(r"(?<!\n)\n(?!\n)", " ", inspect.cleandoc(text or ""))


def usage_message(exc: Any, arguments: Sequence[str], commands: Sequence[str]) -> str:
    """What a usage error of click says, in one line, with the command whose help tells more.

    Args:
        exc: click's `UsageError`, which typer carries its own copy of in some versions.
        arguments: of the program.
        commands: their names.
    """
    text = " ".join(str(exc.format_message()).split())
    possible = getattr(exc, "possibilities", None)
    wanted = getattr(exc, "option_name", None)
    if possible and wanted is not None:
        nearest = difflib.get_close_matches(wanted, possible, n=1, cutoff=0)
        text = f"{' '.join(exc.message.split())}; did you mean {nearest[0]}?"
    # Not all of these errors know where they come from.
    command = next((f"roadseg {word}" for word in arguments if word in commands), "roadseg")
    return f"{text.rstrip('.')} (see '{command} --help')"
