"""Reading and writing the configuration: every mistake in one line, with the nearest right key."""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import os
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TypeAlias, Union, get_args, get_origin, get_type_hints

from roadseg.core.errors import UsageError, unreadable
from roadseg.core.shipped import page
from roadseg.live.config import LiveConfig, SourceConfig, only_given
from roadseg.media.redaction import redact_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["check", "config_text", "load_config", "parse_config"]


def load_config(path: Path) -> LiveConfig:
    """Read a configuration file.

    Raises:
        UsageError: it cannot be read, or is wrong; one line for each mistake.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise UsageError(f"no configuration at {path}", fix="check the path") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(UsageError, path, exc) from exc
    return parse_config(text, str(path))


def parse_config(text: str, name: str) -> LiveConfig:
    """Read a configuration from the text of a TOML file; `name` is the file's, for messages.

    Raises:
        UsageError: it is wrong; one line for each mistake.
    """
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise UsageError(
            f"{name} is not TOML ({exc})", fix=f"correct it; {page('live.md')} shows one"
        ) from exc
    reader = _Reader(name)
    config: LiveConfig = reader.table(LiveConfig, table, "")
    _raise(reader.mistakes)
    check(config, name)
    return config


def check(config: LiveConfig, name: str) -> None:
    """Look for what no key alone is to blame for: names and outputs that are shared.

    Args:
        config: to look at.
        name: of the file that it comes from, for messages.

    Raises:
        UsageError: something is wrong; one line for each mistake.
    """
    reader = _Reader(name)
    for where, what, fix in _contradictions(config):
        reader.wrong(where, what, fix)
    _raise(reader.mistakes)


def _raise(mistakes: list[UsageError]) -> None:
    if len(mistakes) == 1:
        raise mistakes[0]
    if mistakes:
        raise UsageError("\n".join(str(mistake) for mistake in mistakes))


def config_text(config: LiveConfig, *, passwords: bool = False) -> str:
    """The configuration as TOML, with every key that has a value: `--print-config`.

    Args:
        config: what to write.
        passwords: write those in URLs; `parse_config` then reads the same configuration from it.
    """
    if not passwords:
        sources = tuple(dataclasses.replace(each, url=each.shown) for each in config.source)
        config = dataclasses.replace(config, source=sources)
    return "\n".join(_lines(config, "")) + "\n"


class _Reader:
    """Turns tables of TOML into dataclasses.

    Attributes:
        mistakes: one line each.
    """

    def __init__(self, name: str) -> None:
        self.mistakes: list[UsageError] = []
        self._name = name

    def table(self, kind: type, values: dict[str, Any], where: str) -> Any:
        """A table as `kind`; None if a mistake was found in it."""
        before = len(self.mistakes)
        fields = {each.name: each for each in dataclasses.fields(kind)}
        hints = get_type_hints(kind)
        taken: dict[str, Any] = {}
        for key, value in values.items():
            if key not in fields:
                self.wrong(where, f"unknown key {key}", _nearest(key, kind))
            else:
                taken[key] = self._value(hints[key], value, fields[key], where)
        for key, each in fields.items():
            no_default = each.default is dataclasses.MISSING
            if key not in values and no_default and each.default_factory is dataclasses.MISSING:
                self._missing(key, hints[key], where)
        return None if len(self.mistakes) > before else kind(**taken)

    def _value(self, kind: Any, value: Any, key: dataclasses.Field[Any], where: str) -> Any:
        kind = _without_none(kind)
        if dataclasses.is_dataclass(kind):
            if isinstance(value, dict):
                return self.table(kind, value, _joined(where, key.name))  # type: ignore[arg-type]
            self.wrong(where, f"{key.name} = {_shown(value)}", f"write a table, [{key.name}]")
            return None
        if get_origin(kind) is tuple:
            return self._list(get_args(kind)[0], value, key.name)
        wanted = _fault(kind, value)
        if not wanted and not key.metadata.get("allowed", lambda _: True)(value):
            wanted = key.metadata["wanted"]
        if wanted:
            shown = redact_text(_shown(value))
            self.wrong(where, f"{key.name} = {shown}", f"give {wanted}")
            return None
        return float(value) if kind is float else value

    def _list(self, kind: Any, value: Any, key: str) -> Any:
        if kind is str:
            if isinstance(value, list) and all(isinstance(each, str) for each in value):
                return tuple(value)
            self.wrong("", f"{key} = {_shown(value)}", f'give a list of texts, {key} = ["..."]')
            return ()
        if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
            self.wrong(
                "", f"{key} is not a list of tables", f"write it with two brackets, [[{key}]]"
            )
            return ()
        wheres = (f"[[{key}]] {i}{_named(each)}" for i, each in enumerate(value, 1))
        return tuple(
            self.table(kind, each, where) for each, where in zip(value, wheres, strict=True)
        )

    def _missing(self, key: str, kind: Any, where: str) -> None:
        how = f"[[{key}]] with name and url" if get_origin(kind) is tuple else f'{key} = "..."'
        self.wrong(where, f"{key} is missing", f"add {how}")

    def wrong(self, where: str, what: str, fix: str) -> None:
        """Note a mistake."""
        place = f"{self._name}: {where}" if where else self._name
        self.mistakes.append(UsageError(f"{place}: {what}", fix=fix))


def _fault(kind: Any, value: Any) -> str:
    """What a value of this kind looks like, if this one is of another; else empty."""
    if get_origin(kind) is Literal:
        choices = get_args(kind)
        close = difflib.get_close_matches(str(value), choices, 1)
        listed = " or ".join(f'"{each}"' for each in choices)
        return "" if value in choices else f'"{close[0]}"' if close else listed
    if kind is float:
        right = type(value) in (int, float) and math.isfinite(value)
    else:
        right = type(value) is kind and value != ""
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    return "" if right else words[kind]


_Mistake: TypeAlias = tuple[str, str, str]
"""Where, what is wrong, and what to do about it."""


def _contradictions(config: LiveConfig) -> Iterator[_Mistake]:
    """What no key alone is to blame for."""
    if not config.source:
        yield "", "there is no source", "add [[source]] with name and url"
    for host in () if config.web is None else config.web.hosts:
        if not re.fullmatch(r"[\w.-]+", host):
            yield "[web]", f"hosts: {_shown(host)} is no name", 'write it as "cams.example.com"'
    names: dict[str, int] = {}
    outputs: dict[str, str] = {}
    for i, source in enumerate(config.source, 1):
        where = f"[[source]] {i} ({source.name})"
        folded = source.name.casefold()
        if any(c in source.name for c in '/\\:*?"<>|\0') or source.name.strip(". ") == "":
            yield where, "a name is also one of files", 'leave out / \\ : * ? " < > |'
        if folded in names:
            yield where, f"[[source]] {names[folded]} has the same name", "give another"
        names.setdefault(folded, i)
        if source.retry_first > source.retry_most:
            yield where, f"retry_first = {source.retry_first:g} is more than retry_most", "lower it"
        for key in ("output", "raw_output", "save_masks", "timeline", "events", "event_clips"):
            yield from _shared_output(source, key, where, outputs)
    seen: set[str] = set()
    for i, event in enumerate(config.event, 1):
        if event.name.casefold() in seen:
            where = f"[[event]] {i} ({event.name})"
            yield where, "another event has the same name", "give another"
        seen.add(event.name.casefold())


def _shared_output(
    source: SourceConfig, key: str, where: str, outputs: dict[str, str]
) -> Iterator[_Mistake]:
    path = getattr(source, key)
    if path is None:
        return
    real = os.path.normcase(os.path.realpath(os.path.expanduser(path)))
    if real in outputs:
        yield where, f'{key} = "{path}" is also written by {outputs[real]}', "give another"
    outputs.setdefault(real, f"{where} as its {key}")


def _nearest(key: str, kind: type) -> str:
    names = [each.name for each in dataclasses.fields(kind)]
    close = difflib.get_close_matches(key.replace("-", "_").lower(), names, 1, 0.6)
    return f"write {close[0]}" if close else f"there are {', '.join(names)}"


def _without_none(kind: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(kind) in (Union, types.UnionType):
        return next(each for each in get_args(kind) if each is not type(None))
    return kind


def _joined(where: str, key: str) -> str:
    return f"{where}, [{key}]" if where else f"[{key}]"


def _named(table: dict[str, Any]) -> str:
    name = table.get("name")
    return f" ({name})" if isinstance(name, str) and name else ""


def _shown(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, dict):
        return "{...}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_shown(each) for each in value)}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _lines(config: Any, path: str) -> Iterator[str]:
    """The keys of a table, then the tables in it."""
    given = only_given(config)
    inner = {
        key: value
        for key, value in given.items()
        if dataclasses.is_dataclass(value)
        or (isinstance(value, tuple) and dataclasses.is_dataclass(value[0]))
    }
    for key, value in given.items():
        if key not in inner:
            yield f"{key} = {_shown(value)}"
    for key, value in inner.items():
        name = f"{path}{key}"
        tables = value if isinstance(value, tuple) else (value,)
        for each in tables:
            yield ""
            yield f"[[{name}]]" if isinstance(value, tuple) else f"[{name}]"
            yield from _lines(each, f"{name}.")
