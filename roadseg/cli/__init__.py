"""The command line: one file per command, registered here, where errors become exit codes.

`app` is the program with all of its commands.
"""

from __future__ import annotations

import functools
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

import typer

from roadseg.cli.endings import lasting_streams, signals_as_ctrl_c
from roadseg.cli.help_page import RoadsegCommand, RoadsegGroup, flowing, usage_message
from roadseg.cli.lines import log_printed, print_details, print_error
from roadseg.core.errors import RoadsegError
from roadseg.core.garbage import whole_program
from roadseg.core.wording import naming_options

_BELOW = """'roadseg doctor' says where the pages of docs/ and a sample clip lie.

Exit codes: 0 success, 1 unexpected error, 2 usage, 3 source, 4 sink, 5 model,
6 backend, 7 data set, 8 quality gate refused, 9 engine, 130 interrupted by Ctrl-C, 143 by SIGTERM,
129 by SIGHUP."""

# The order is that of the help page. A command's module is `roadseg.cli.<name>` and its function
# has the same name, with underscores.
_COMMANDS = (
    "run",
    "batch",
    "report",
    "bench",
    "eval",
    "compare",
    "train",
    "crossval",
    "quantize",
    "calibrate",
    "build-engine",
    "export",
    "render-sample",
    "find-bonnet",
    "timeline",
    "doctor",
)

# As shells count: 128 and the number of the signal.
_INTERRUPTED = 128 + signal.SIGINT

_debug = False


def _global(
    context: typer.Context,
    debug: bool = typer.Option(False, "--debug", help="Show the traceback of an error."),
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    global _debug
    _debug = debug or bool(os.environ.get("ROADSEG_DEBUG"))
    if _debug:
        print_details()
    if version:
        from roadseg.core.version import __version__

        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
        raise typer.Exit


@functools.cache
def with_commands(names: tuple[str, ...] = _COMMANDS) -> typer.Typer:
    """The program, with these of its commands; their modules are loaded here."""
    program = typer.Typer(
        name="roadseg",
        cls=RoadsegGroup,
        help="Real-time road-scene video segmentation.",
        epilog=flowing(_BELOW),
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    program.callback(invoke_without_command=True)(_global)
    for name in names:
        module_name = name.replace("-", "_")
        module = importlib.import_module(f"roadseg.cli.{module_name}")
        function = getattr(module, module_name, None) or getattr(module, f"{module_name}_")
        program.command(name, cls=RoadsegCommand, help=flowing(function.__doc__))(function)
    return program


def __getattr__(name: str) -> typer.Typer:
    if name == "app":
        return with_commands()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _for_arguments(arguments: Sequence[str]) -> typer.Typer:
    """The program with the command that is typed; with all of them where none is.

    No command waits for the other fifteen. The program's own options take no value, so the first
    word without a dash is the command.
    """
    word = next((each for each in arguments if not each.startswith("-")), None)
    return with_commands((word,)) if word in _COMMANDS else with_commands()


def main(
    argv: Sequence[str] | None = None, program: typer.Typer | None = None, name: str = "roadseg"
) -> int:
    """Run one command.

    Args:
        argv: arguments after the program's name; those of the process when None.
        program: the commands, default roadseg's; those in `tools/` bring their own.
        name: of the program, for its help.

    Returns:
        The exit code; see `roadseg.core.errors` for their meanings.
    """
    global _debug
    _debug = False
    arguments = list(sys.argv[1:] if argv is None else argv)
    with (
        whole_program(),
        naming_options(),
        lasting_streams(),
        log_printed(),
        signals_as_ctrl_c() as signals,
    ):
        try:
            code = _run(program or _for_arguments(arguments), name, arguments)
        except KeyboardInterrupt:
            code = _INTERRUPTED
        except Exception as exc:
            # What Ctrl-C becomes on its way through click; through typer it becomes an exit code.
            if type(exc).__name__ != "Abort":
                return _report(exc, arguments)
            code = _INTERRUPTED
        return 128 + signals[0] if signals and code == _INTERRUPTED else code


def _run(program: typer.Typer, name: str, arguments: list[str]) -> int:
    result = _built(program).main(args=arguments, prog_name=name, standalone_mode=False)
    return result if isinstance(result, int) else 0


@functools.cache
def _built(program: typer.Typer) -> Any:
    """The commands as click runs them; building them takes longer than a short command does."""
    return typer.main.get_command(program)


def _report(exc: Exception, arguments: Sequence[str]) -> int:
    from roadseg.media.redaction import redact_text

    if _debug:
        import traceback

        # The errors of libraries name the URL with the password in it.
        print(redact_text(traceback.format_exc(), arguments), end="", file=sys.stderr)
    text, code = _explained(exc, arguments)
    # Sources are redacted where they are named; this is for options that take no URL.
    print_error(redact_text(text, arguments))
    return code


def _explained(exc: Exception, arguments: Sequence[str]) -> tuple[str, int]:
    """What an error says, and its exit code."""
    if isinstance(exc, RoadsegError):
        return str(exc), exc.exit_code
    # typer carries its own copy of click's exceptions in some versions and click's in others:
    # both have these two members and a usage error's exit code of 2.
    if hasattr(exc, "format_message") and hasattr(exc, "exit_code"):
        return usage_message(exc, arguments, _COMMANDS), int(exc.exit_code)
    if isinstance(exc, ImportError):
        from roadseg.core.cv2_check import explain_import_error

        explanation = explain_import_error(exc)
        if explanation is not None:
            return str(explanation), explanation.exit_code
    again = "run again as 'roadseg --debug ...' and report the traceback"
    return f"unexpected {type(exc).__name__}: {exc}; {again}", 1
