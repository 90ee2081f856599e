"""What lies in the folder of a run: the names of its files, and its `config.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from roadseg.core.errors import ModelError
from roadseg.core.files import write_json
from roadseg.core.wording import option

LAST = "last.ckpt"
"""Everything needed to go on with a run."""
KEPT = "best.ckpt"
"""What a run that has diverged goes back to."""
BEST = "best.safetensors"
"""The averaged weights of the best validation."""
UNBALANCED = "unbalanced.safetensors"
"""Where `BEST` has class biases: the best ones since then, which have none yet."""


def epochs_of(folder: Path) -> int:
    """How many epochs the run of a folder was last told to have.

    Raises:
        ModelError: `folder` holds no run.
    """
    return int(planned_epochs(read_config(folder)))


def read_config(folder: Path) -> dict[str, Any]:
    """The `config.json` of a run.

    Raises:
        ModelError: `folder` holds no run, or it is damaged.
    """
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        config["model"], config["recipe"]["epochs"]
    except FileNotFoundError:
        raise ModelError(
            f"no checkpoint at {folder}", fix=f"start without {option('--resume', True)}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ModelError(
            f"{path} is damaged",
            fix=f"remove the folder and start again, or choose another {option('--output')}",
        ) from exc
    checked: dict[str, Any] = config
    return checked


def planned_epochs(config: dict[str, Any]) -> Any:
    """How many epochs a configuration plans."""
    return config["recipe"]["epochs"]


def write_config(folder: Path, record: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write `config.json`: the record of `run_record`, and facts about machine and data.

    Raises:
        SinkError: the folder cannot be written.
    """
    write_json(folder / "config.json", record | facts)
