"""What messages call an argument: `--size 352x480`, or in Python `size_hw=(352, 480)`.

Libraries do not know who reads their errors. They name arguments through `option`, and the command
line says once, for its process, that it is the one that reads them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

# Where the parameter is not called like the option.
_PARAMETERS = {
    "--max-drop": "max_drop_points",
    "--size": "size_hw",
    "--source": "spec",
    "--workspace": "workspace_mb",
}


class _Reader:
    types_options = False


@contextmanager
def naming_options() -> Iterator[None]:
    """Inside the block, in all threads, messages name the options of the command line."""
    before, _Reader.types_options = _Reader.types_options, True
    try:
        yield
    finally:
        _Reader.types_options = before


def names_options() -> bool:
    """Whether messages name the options of the command line, for processes that are to do alike."""
    return _Reader.types_options


def option(name: str, *values: object, parameter: str | None = None) -> str:
    """How to give an argument, for a message.

    Args:
        name: of the option, with its dashes.
        values: of which one may be given; none to name the argument alone. A size is a pair of
            height and width; True is how a flag is set.
        parameter: of the Python function, where it is not the option's name.

    >>> option("--backend", "torch", "fake")
    'backend="torch"|"fake"'
    >>> with naming_options():
    ...     option("--backend", "torch", "fake"), option("--size", (352, 480))
    ('--backend torch|fake', '--size 352x480')
    >>> option("--resume", True)
    'resume=True'
    """
    if _Reader.types_options:
        return " ".join(filter(None, [name, "|".join(map(_typed, values))]))
    parameter = parameter or _PARAMETERS.get(name) or name.lstrip("-").replace("-", "_")
    return "=".join(filter(None, [parameter, "|".join(map(_written, values))]))


def _typed(value: object) -> str:
    if value is True:
        return ""
    return f"{value[0]}x{value[1]}" if isinstance(value, tuple) else str(value)


def _written(value: object) -> str:
    return str(value) if isinstance(value, (int, float, tuple)) else f'"{value}"'
