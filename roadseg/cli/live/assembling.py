"""What was typed, and the configuration file, as one `LiveConfig`."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import typer

if TYPE_CHECKING:
    from roadseg.live.config import LiveConfig, SourceConfig, WebConfig


# Options that make a run a live one, whatever its source.
_LIVE = (
    *("web", "web_token", "config", "print_config", "policy", "max_staleness", "stall_timeout"),
    *("camera_size", "camera_fps"),
    *("max_fps", "stride", "log_json", "segment_minutes", "keep_gb", "record_raw"),
)

# Options that are keys of the configuration, and of each source in it.
_KEYS = (
    *("model", "backend", "size", "threads", "palette", "view", "alpha", "legend", "hud"),
    *("blur", "blur_style", "smooth", "readouts", "doubt", "doubt_limit"),
)
_SOURCE_KEYS = (
    *("policy", "max_staleness", "stall_timeout", "max_fps", "stride", "max_frames"),
    *("loop", "fps", "rtsp_transport", "stream", "corridor", "camera_height", "horizon", "fov"),
    *("ignore_mask", "camera_size", "camera_fps"),
)

# Options that name files, of which each source has its own.
_FILES = ("output", "save_masks", "timeline", "events", "event_clips")

# What those of several sources are called, behind the source's name.
_ENDINGS = {"timeline": ".csv", "events": ".jsonl"}

# What only the run over one file has.
_FILE_ONLY = ("reuse",)


@dataclass(frozen=True)
class Typed:
    """The options of a command line.

    Attributes:
        values: of all options, by the name of their parameter.
        given: those that were typed, or stand in the environment.
    """

    values: Mapping[str, Any]
    given: frozenset[str]

    @classmethod
    def of(cls, context: typer.Context) -> Typed:
        """Those of the command that runs."""
        given = {
            name
            for name in context.params
            if (source := context.get_parameter_source(name)) is not None
            and source.name in ("COMMANDLINE", "ENVIRONMENT")
        }
        return cls(context.params, frozenset(given))

    def only(self, names: Sequence[str]) -> dict[str, Any]:
        """Values of these options, as far as they were given."""
        return {name: self.values[name] for name in names if name in self.given}

    def option(self, name: str) -> str:
        """How an option is typed: `--max-fps`."""
        return f"--{name.replace('_', '-')}"


def goes_live(sources: Sequence[str], typed: Typed) -> bool:
    """Whether a run is one of cameras and pages; one file on its own is not."""
    from roadseg.live.sources import is_live

    if typed.only(_LIVE) or len(sources) > 1:
        return True
    if len(sources) != 1 or not is_live(sources[0]):
        return False
    return not typed.only(_FILE_ONLY)


def assemble(sources: Sequence[str], typed: Typed) -> LiveConfig:
    """The configuration of a live run. What was typed wins over the file.

    Raises:
        UsageError: an option or the file is wrong, or there is no source.
        SourceError: there is no file of that name.
    """
    from roadseg.cli.options import parse_fps
    from roadseg.core.errors import UsageError
    from roadseg.live.config import LiveConfig, SourceConfig
    from roadseg.live.sources import source_name
    from roadseg.live.toml import check, load_config
    from roadseg.media.sources import places
    from roadseg.media.sources.opening import check_fps

    _refuse_file_only(typed)
    path: Path | None = typed.values.get("config")
    config = LiveConfig(source=()) if path is None else load_config(path)
    config = replace(config, **_checked(LiveConfig, typed.only(_KEYS), typed))
    own = typed.only(_SOURCE_KEYS)
    if "fps" in own:
        fps = parse_fps(own["fps"])
        own["fps"] = None if fps is None else float(fps)
    own = _checked(SourceConfig, own, typed)
    if "ignore_mask" in own:
        own["ignore_mask"] = str(own["ignore_mask"])
    names = [each.name for each in config.source]
    more = []
    for spec in sources:
        names.append(source_name(spec, names))
        more.append(SourceConfig(names[-1], spec))
    config = replace(config, source=tuple(replace(each, **own) for each in (*config.source, *more)))
    if not config.source:
        raise UsageError(
            "no source is given", fix="for example 'roadseg run --source 0 --web 8080'"
        )
    if "web" in typed.given:
        config = replace(config, web=_web(config.web, typed.values["web"]))
    if "group" in typed.given:
        config = replace(config, group=tuple(typed.values["group"]))
    config = _with_events(config, typed)
    config = _with_files(config, typed)
    check(config, "the command line" if path is None else str(path))
    for each in config.source:
        # A mistake does not wait for the network.
        if each.is_file or each.fps is not None:
            place = places.find(each.url)
            if each.fps is not None:
                check_fps(place)
    if config.web is not None:
        config = _played(config)
    return config


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


def _web(config: WebConfig | None, text: str) -> WebConfig:
    from roadseg.live.config import WebConfig

    host, port = parse_web(text)
    config = replace(config or WebConfig(), port=port)
    return config if host is None else replace(config, address=host)


def _played(config: LiveConfig) -> LiveConfig:
    """For people who look on, files play at their own rate, unless each frame counts."""
    return replace(
        config,
        source=tuple(
            replace(each, policy="latest") if each.policy == "auto" and each.is_file else each
            for each in config.source
        ),
    )


def _with_events(config: LiveConfig, typed: Typed) -> LiveConfig:
    from roadseg.live.config import EventConfig

    events = []
    before_s, after_s = typed.values["pre_roll"], typed.values["post_roll"]
    for text in typed.values["event"] or ():
        name, _, rule = text.partition(":")
        events.append(EventConfig(name.strip(), rule.strip(), before_s, after_s))
    return replace(config, event=(*config.event, *events))


def _with_files(config: LiveConfig, typed: Typed) -> LiveConfig:
    """With what is written."""
    if typed.only(("segment_minutes", "keep_gb", "record_raw")) or len(config.source) > 1:
        config = _recorded(config, typed)
    files = typed.only(_FILES)
    if config.record is not None:
        files.pop("output", None)
    if not files:
        return config
    made: list[SourceConfig] = []
    for each in config.source:
        own: dict[str, Any] = {}
        for name, path in files.items():
            own[name] = str(path)
            if len(config.source) > 1:
                _refuse_shared(config, typed, name)
                own[name] = str(path / f"{each.name}{_ENDINGS.get(name, '')}")
        made.append(replace(each, **own))
    return replace(config, source=tuple(made))


def _recorded(config: LiveConfig, typed: Typed) -> LiveConfig:
    """Rolling files below the folder of `--output`; one file of one source stays what it is."""
    from roadseg.core.errors import UsageError
    from roadseg.live.config import RecordConfig

    rolling = typed.only(("segment_minutes", "keep_gb"))
    output: Path | None = typed.values["output"] if "output" in typed.given else None
    raw = bool(typed.values["record_raw"])
    if output is not None and output.suffix.lower() == ".mp4":
        if len(config.source) > 1:
            _refuse_shared(config, typed, "output")
        if rolling:
            raise UsageError(
                f"--output {output} is one file, and {typed.option(next(iter(rolling)))} is for "
                "many",
                fix=f"give a folder, --output {output.with_suffix('')}",
            )
        beside = output.with_name(f"{output.stem}-raw.mp4")
        return replace(config, source=(replace(config.source[0], raw_output=str(beside)),))
    if output is None and config.record is None and not rolling and not raw:
        return config
    if output is None and config.record is None and config.web is None:
        raise UsageError(
            f"{typed.option(next(iter(rolling), 'record_raw'))} says how to record, not where",
            fix="add --output FOLDER",
        )
    own = _checked(RecordConfig, rolling, typed)
    if output is not None:
        own |= {"folder": str(output), "start": True}
    if raw:
        own["raw"] = True
    return replace(config, record=replace(config.record or RecordConfig(start=False), **own))


def _refuse_shared(config: LiveConfig, typed: Typed, name: str) -> None:
    """One file cannot hold several sources."""
    from roadseg.core.errors import UsageError

    path = typed.values[name]
    if path.suffix:
        raise UsageError(
            f"{len(config.source)} sources cannot share {typed.option(name)} {path}",
            fix=f"give a folder, such as {path.with_suffix('')}",
        )


def _checked(kind: type, values: dict[str, Any], typed: Typed) -> dict[str, Any]:
    """Values of options that are keys of a table, each allowed there. Raises `UsageError`."""
    from roadseg.core.errors import UsageError
    from roadseg.live.config import Policy

    fields = {each.name: each for each in dataclasses.fields(kind)}
    for name, value in values.items():
        limits = fields[name].metadata
        if value is None:
            continue
        if "allowed" in limits and not limits["allowed"](value):
            raise UsageError(
                f"{typed.option(name)} {value} is out of range", fix=f"give {limits['wanted']}"
            )
    policy = values.get("policy")
    if policy is not None and policy not in get_args(Policy):
        raise UsageError(f"unknown policy {policy!r}", fix="use --policy latest|every")
    return values


def _refuse_file_only(typed: Typed) -> None:
    from roadseg.core.errors import UsageError

    wrong = [typed.option(name) for name in _FILE_ONLY if name in typed.given]
    if wrong:
        raise UsageError(
            f"{wrong[0]} needs the frames that follow: it is for a run over one file, without the "
            "page and options of cameras",
            fix="leave it out; --stride and --max-fps spare the network, too",
        )
