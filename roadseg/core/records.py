"""Records on disk: JSON with a version, read into a dataclass and checked against its types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from roadseg.core.errors import RoadsegError, os_reason

T = TypeVar("T")


def read_record(
    path: Path,
    kind: type[T],
    error: type[RoadsegError],
    *,
    fix: str,
    version: int | None = None,
    make: Callable[[type, Any], Any] | None = None,
) -> T:
    """Read a JSON file as a dataclass; keys that the dataclass lacks are passed over.

    Args:
        path: the file.
        kind: the dataclass; `Annotated` types may hold limits, as `msgspec.Meta`.
        error: what to raise.
        fix: what to do about a file that cannot be used.
        version: that its `version` must be; None for files without one.
        make: makes values of types that JSON lacks, from the type and what JSON holds.

    Raises:
        FileNotFoundError: it is missing.
        RoadsegError: as `error`: it cannot be read, is of another version, or damaged; then the
            message names the key and what was expected.
    """
    import msgspec

    try:
        raw = msgspec.json.decode(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as exc:
        raise error(f"cannot read {path} ({os_reason(exc)})", fix=fix) from exc
    except ValueError as exc:
        raise error(f"{path} is damaged (no JSON)", fix=fix) from exc
    if version is not None and isinstance(raw, dict):
        found = raw.pop("version", None)
        if found is None:
            raise error(f"{path} is damaged (version is missing)", fix=fix)
        if found != version:
            raise error(f"{path} has version {found}, expected {version}", fix=fix)
    try:
        return msgspec.convert(raw, kind, dec_hook=make)
    except msgspec.ValidationError as exc:
        raise error(f"{path} is damaged ({_reason(str(exc))})", fix=fix) from exc


def as_record(values: object, kind: type[T]) -> T:
    """Plain values, as JSON has them, as a dataclass; keys that it lacks are passed over.

    Raises:
        ValueError: a key is missing, or a value is of another type; the text names it.
    """
    import msgspec

    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as exc:
        raise ValueError(_reason(str(exc))) from exc


def _reason(text: str) -> str:
    """What msgspec says, the key first.

    >>> _reason("Expected `int` >= 1, got `str` - at `$.gate.images`")
    'gate.images: expected int >= 1, got str'
    >>> _reason("Object missing required field `frames` - at `$.parity`")
    'parity.frames is missing'
    """
    what, _, place = text.partition(" - at `$")
    key, what = place.rstrip("`").lstrip("."), what.replace("`", "")
    field = what.removeprefix("Object missing required field ")
    if field != what:
        return f"{key}.{field} is missing".lstrip(".")
    what = what[:1].lower() + what[1:]
    return f"{key}: {what}" if key else what
