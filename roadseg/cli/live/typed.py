"""What was typed for `roadseg run`: whether it is a live run, and its configuration."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from roadseg.cli.options import is_typed, parse_fps

if TYPE_CHECKING:
    from roadseg.live.config import LiveConfig


# Options that make a run a live one, whatever its source.
LIVE = (
    *("web", "web_token", "config", "print_config", "policy", "max_staleness", "stall_timeout"),
    *("camera_size", "camera_fps"),
    *("max_fps", "stride", "log_json", "segment_minutes", "keep_gb", "record_raw"),
)

# What only the run over one file has.
FILE_ONLY = ("reuse",)

# What is done with the run, and says nothing of it.
AROUND = ("config", "print_config", "web_token", "log_json", "show", "stats_json")


@dataclass(frozen=True)
class Typed:
    """The options of a command line.

    Attributes:
        values: of all options, by the name of their parameter.
        given: those that were typed. The token of pages often stands in the environment, for all
            runs: that asks for no page.
    """

    values: Mapping[str, Any]
    given: frozenset[str]

    @classmethod
    def of(cls, context: typer.Context) -> Typed:
        """Those of the command that runs."""
        given = {name for name in context.params if is_typed(context, name)}
        return cls(context.params, frozenset(given))


def goes_live(sources: Sequence[str], typed: Typed) -> bool:
    """Whether a run is one of cameras and pages; one file on its own is not."""
    from roadseg.live.sources import is_live

    if typed.given.intersection(LIVE) or len(sources) > 1:
        return True
    if len(sources) != 1 or not is_live(sources[0]):
        return False
    return not typed.given.intersection(FILE_ONLY)


def typed_config(sources: Sequence[str], typed: Typed) -> LiveConfig:
    """The configuration of a live run. What was typed wins over the file.

    Raises:
        UsageError: an option or the file is wrong, or there is no source.
        SourceError: there is no file of that name.
    """
    from roadseg.core.errors import UsageError
    from roadseg.live.assembling import assemble
    from roadseg.live.toml import load_config

    for name in typed.given.intersection(FILE_ONLY):
        raise UsageError(
            f"--{name} needs the frames that follow: it is for a run over one file, without the "
            "page and options of cameras",
            fix="leave it out; --stride and --max-fps spare the network, too",
        )
    path: Path | None = typed.values["config"]
    base = None if path is None else load_config(path)
    # The defaults of the rolls are those of the command.
    names = typed.given.difference(AROUND, ("sources", "source")) | {"pre_roll", "post_roll"}
    options = {name: typed.values[name] for name in names}
    if "fps" in options:
        fps = parse_fps(options["fps"])
        options["fps"] = None if fps is None else float(fps)
    if "web" in options:
        options["web"] = parse_web(options["web"])
    name = "the command line" if path is None else str(path)
    config = assemble(sources, options, base=base, name=name)
    check_rolls(typed, has_clips=any(each.event_clips is not None for each in config.source))
    rolls = sorted(typed.given & {"pre_roll", "post_roll"})
    if rolls and "event" not in typed.given:
        raise UsageError(
            f"{_name(rolls[0])} is for events of --event, and those of {name} have their own",
            fix=f"write {'pre_s' if rolls[0] == 'pre_roll' else 'post_s'} into the table [[event]]",
        )
    return config


def check_rolls(typed: Typed, *, has_clips: bool) -> None:
    """Refuse lengths of clips where none are written.

    Raises:
        UsageError: one is typed.
    """
    from roadseg.core.errors import UsageError

    for name in () if has_clips else sorted(typed.given & {"pre_roll", "post_roll"}):
        raise UsageError(
            f"{_name(name)} is for clips of events, and none are written",
            fix="add --event-clips FOLDER, or leave it out",
        )


def _name(parameter: str) -> str:
    return f"--{parameter.replace('_', '-')}"


def parse_web(text: str) -> tuple[str | None, int]:
    """Address and port of `--web`; no address where only the port is given.

    Raises:
        UsageError: it is neither.
    """
    from roadseg.core.errors import UsageError

    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not re.fullmatch("[0-9]{1,5}", port) or int(port) > 65535 or (colon and not host):
        raise UsageError(
            f"--web {text} is no port, and no host and port",
            fix="use for example --web 8080 or --web 0.0.0.0:8080",
        )
    return host or None, int(port)
