"""`log.jsonl`: one line of JSON per epoch of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadseg.core.errors import SinkError, os_reason
from roadseg.core.files import write_text, writing
from roadseg.core.wording import option

_NAME = "log.jsonl"


def append_line(folder: Path, line: Mapping[str, Any]) -> None:
    """Add the line of an epoch; what is not a number (the IoU of an absent class) becomes null.

    Raises:
        SinkError: the file cannot be written.
    """
    text = json.dumps({key: _strict(value) for key, value in line.items()}, allow_nan=False)
    path = folder / _NAME
    with writing(path, to_go_on()), path.open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The lines of a run, without one that an interruption left half-written; none without a log.

    Raises:
        SinkError: the file cannot be read, or is damaged.
    """
    path = folder / _NAME
    fix = f"remove it, or choose another {option('--output', parameter='folder')}"
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    except (OSError, UnicodeDecodeError) as exc:
        raise SinkError(f"cannot read {path} ({os_reason(exc)})", fix=fix) from exc
    # A line is whole once its end is there.
    try:
        return [json.loads(row) for row in text[: text.rfind("\n") + 1].splitlines()]
    except ValueError as exc:
        raise SinkError(f"{path} is damaged ({exc})", fix=fix) from exc


def forget_after(folder: Path, epoch: int) -> None:
    """Drop the lines behind an epoch: those of a run that was killed before its checkpoint.

    Raises:
        SinkError: the file cannot be written.
    """
    path = folder / _NAME
    if not path.exists():
        return
    kept = [line for line in read_log(folder) if line["epoch"] <= epoch]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept), fix=to_go_on())


def _strict(value: Any) -> Any:
    if isinstance(value, list):
        return [_strict(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_go_on() -> str:
    """What to do about a folder that a run cannot write to."""
    return f"free some space and go on with {option('--resume', True)}"
