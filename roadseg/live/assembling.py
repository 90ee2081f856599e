"""One `LiveConfig` from sources, options and a configuration to go on from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

from roadseg.core.errors import UsageError
from roadseg.core.wording import option
from roadseg.live.config import (
    EventConfig,
    LiveConfig,
    Policy,
    RecordConfig,
    SourceConfig,
    WebConfig,
)
from roadseg.live.sources import source_name
from roadseg.live.toml import check
from roadseg.media.sources import places
from roadseg.media.sources.opening import check_fps
from roadseg.video.reading.options import nothing_to_hide

KEYS = (
    *("model", "backend", "size", "threads", "palette", "view", "alpha", "legend", "hud"),
    *("blur", "blur_style", "smooth", "readouts", "doubt", "doubt_limit", "group"),
)
"""Options that are keys of the configuration."""

SOURCE_KEYS = (
    *("policy", "max_staleness", "stall_timeout", "max_fps", "stride", "max_frames"),
    *("loop", "fps", "rtsp_transport", "stream", "corridor", "camera_height", "horizon", "fov"),
    *("ignore_mask", "camera_size", "camera_fps"),
)
"""Options that are keys of every source."""

FILES = ("output", "save_masks", "timeline", "events", "event_clips")
"""Options that name files, of which each source has its own."""

RECORDING = ("segment_minutes", "keep_gb", "record_raw")
"""Options of rolling recordings, whose folder is `output`."""

OTHERS = ("web", "event", "pre_roll", "post_roll")
"""Options that become tables of the configuration."""

# What the files of several sources are called, behind the source's name.
_ENDINGS = {"timeline": ".csv", "events": ".jsonl"}


def assemble(
    sources: Sequence[str],
    options: Mapping[str, Any] | None = None,
    *,
    base: LiveConfig | None = None,
    name: str = "the options",
) -> LiveConfig:
    """The configuration of a live run, as `roadseg run` makes it from what is typed.

    Several sources share the options, and have files of their own below the folders that are
    named; with a page, files play at their own rate.

    Args:
        sources: whatever `roadseg run --source` takes; they come after those of `base`.
        options: by the names of `roadseg run`, `_` for `-`: `max_fps`, `output` (a `Path`, as of
            all `FILES`), `event` (a list of `NAME: RULE`), `web` (the port, or address and port).
        base: a configuration to go on from; what is given here wins over it.
        name: of where mistakes come from, for messages.

    Raises:
        UsageError: an option is unknown or wrong, or there is no source.
        SourceError: there is no file of that name.
    """
    given = dict(options or {})
    unknown = set(given) - {*KEYS, *SOURCE_KEYS, *FILES, *RECORDING, *OTHERS}
    if unknown:
        raise UsageError(f"a live run has no option {min(unknown)!r}", fix="leave it out")
    if "group" in given:
        given["group"] = tuple(given["group"])
    config = base or LiveConfig(source=())
    config = replace(config, **_checked(LiveConfig, _only(given, KEYS)))
    if given.get("blur_style") is not None and config.blur is None:
        raise nothing_to_hide(given["blur_style"])
    if "ignore_mask" in given:
        given["ignore_mask"] = str(given["ignore_mask"])
    own = _checked(SourceConfig, _only(given, SOURCE_KEYS))
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
    if "web" in given:
        config = replace(config, web=_web(config.web, given["web"]))
    config = replace(config, event=(*config.event, *_events(given)))
    config = _with_files(config, given)
    check(config, name)
    for each in config.source:
        # A mistake does not wait for the network.
        if each.is_file or each.fps is not None:
            place = places.find(each.url)
            if each.fps is not None:
                check_fps(place)
    return config if config.web is None else _played(config)


def seen_or_kept(config: LiveConfig) -> LiveConfig:
    """With the page, where results would otherwise be lost: nothing shows or writes them."""
    written = any(getattr(each, name) for each in config.source for name in (*FILES, "raw_output"))
    if config.web is not None or config.record is not None or written:
        return config
    return replace(config, web=WebConfig())


def _only(given: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: given[name] for name in names if name in given}


def _option(name: str, *values: object) -> str:
    return option(f"--{name.replace('_', '-')}", *values, parameter=name)


def _checked(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """Values of options that are keys of a table, each allowed there."""
    limits = {each.name: each.metadata for each in dataclasses.fields(kind)}
    for name, value in values.items():
        if value is not None and not limits[name].get("allowed", lambda _: True)(value):
            raise UsageError(
                f"{_option(name, value)} is out of range", fix=f"give {limits[name]['wanted']}"
            )
    policy = values.get("policy")
    if policy is not None and policy not in get_args(Policy):
        raise UsageError(
            f"unknown policy {policy!r}", fix=f"use {_option('policy', 'latest', 'every')}"
        )
    return values


def _web(config: WebConfig | None, where: int | tuple[str | None, int]) -> WebConfig:
    address, port = (None, where) if isinstance(where, int) else where
    own = _checked(WebConfig, {"port": port})
    if address is not None:
        own["address"] = address
    return replace(config or WebConfig(), **own)


def _events(given: Mapping[str, Any]) -> list[EventConfig]:
    rolls = {
        key: given[name]
        for key, name in (("pre_s", "pre_roll"), ("post_s", "post_roll"))
        if name in given
    }
    rules = (text.partition(":") for text in given.get("event") or ())
    return [EventConfig(name.strip(), rule.strip(), **rolls) for name, _, rule in rules]


def _with_files(config: LiveConfig, given: Mapping[str, Any]) -> LiveConfig:
    """With what is written."""
    if config.record is not None or _only(given, RECORDING) or len(config.source) > 1:
        config = _recorded(config, given)
    files = _only(given, FILES)
    if config.record is not None and not _is_file(given.get("output")):
        files.pop("output", None)
    if not files:
        return config
    several = len(config.source) > 1
    made = []
    for each in config.source:
        own: dict[str, Any] = {}
        for name, path in files.items():
            if several:
                _refuse_shared(config, name, path)
                path = path / f"{each.name}{_ENDINGS.get(name, '')}"
            own[name] = str(path)
        made.append(replace(each, **own))
    return replace(config, source=tuple(made))


def _recorded(config: LiveConfig, given: Mapping[str, Any]) -> LiveConfig:
    """Rolling files below the folder of `output`; one file of one source stays what it is."""
    rolling = _only(given, ("segment_minutes", "keep_gb"))
    output: Path | None = given.get("output")
    raw = bool(given.get("record_raw"))
    if output is not None and _is_file(output):
        if len(config.source) > 1:
            _refuse_shared(config, "output", output)
        if rolling:
            raise UsageError(
                f"{_option('output', output)} is one file, and {_option(next(iter(rolling)))} "
                "is for many",
                fix=f"give a folder, {_option('output', output.with_suffix(''))}",
            )
        if not raw:
            return config
        beside = output.with_name(f"{output.stem}-raw.mp4")
        return replace(config, source=(replace(config.source[0], raw_output=str(beside)),))
    if output is None and config.record is None and not rolling and not raw:
        return config
    if output is None and config.record is None and config.web is None:
        raise UsageError(
            f"{_option(next(iter(rolling), 'record_raw'))} says how to record, not where",
            fix=f"add {_option('output', 'FOLDER')}",
        )
    own = _checked(RecordConfig, rolling)
    if output is not None:
        own |= {"folder": str(output), "start": True}
    if raw:
        own["raw"] = True
    return replace(config, record=replace(config.record or RecordConfig(start=False), **own))


def _is_file(output: Path | None) -> bool:
    return output is not None and output.suffix.lower() == ".mp4"


def _refuse_shared(config: LiveConfig, name: str, path: Path) -> None:
    """One file cannot hold several sources."""
    if path.suffix:
        raise UsageError(
            f"{len(config.source)} sources cannot share {_option(name, path)}",
            fix=f"give a folder, such as {path.with_suffix('')}",
        )


def _played(config: LiveConfig) -> LiveConfig:
    """For people who look on, files play at their own rate, unless each frame counts."""
    return replace(
        config,
        source=tuple(
            replace(each, policy="latest") if each.policy == "auto" and each.is_file else each
            for each in config.source
        ),
    )
