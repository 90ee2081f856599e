"""What a run was started with, so that a resumption cannot quietly become another run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadseg.errors import ModelError, SinkError, UsageError
from roadseg.labels import CAMVID, ClassSet, known_class_set
from roadseg.training.recipes import Recipe
from roadseg.weights.manifest import sha256_of

__all__ = ["check_resumption", "git_revision", "run_record", "write_config", "write_text"]


def run_record(
    model_name: str,
    recipe: Recipe,
    seed: int,
    time_budget_s: float | None,
    extra_frames: int,
    files: Mapping[str, Path | None] | None = None,
    classes: ClassSet = CAMVID,
) -> dict[str, Any]:
    """What a resumption must agree with, as JSON gives it back.

    `files` are the weights that the run uses, by role; their checksums are recorded.
    """
    record = {
        "model": model_name,
        "recipe": dataclasses.asdict(recipe),
        "seed": seed,
        "time_budget_s": time_budget_s,
        "extra_frames": extra_frames,
        "classes": classes.names,
        **{
            f"{role}_sha256": sha256_of(path)
            for role, path in (files or {}).items()
            if path is not None and path.is_file()
        },
    }
    copy: dict[str, Any] = json.loads(json.dumps(record))
    return copy


def check_resumption(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """The record to go on with: the time budget given now, else the run's, and its first weights.

    A longer budget is a reason to resume. Another recipe, seed or mix of data would make a run
    that no command describes.

    Raises:
        ModelError: `folder` holds no run.
        UsageError: the run was started otherwise.
    """
    try:
        started = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"no checkpoint at {folder}: start without --resume") from None
    if started["model"] != record["model"]:
        raise ModelError(f"{folder} is a run of {started['model']}: use --model {started['model']}")
    # Runs of the first versions, which knew CamVid only, do not say.
    first, now = (known_class_set(tuple(c.get("classes", CAMVID.names))) for c in (started, record))
    if not first.same_classes(now):
        raise UsageError(
            f"{folder} was started on {first.brief}, and the data has {now.brief}: give the same "
            "--data to resume"
        )
    # More epochs are a longer budget in other words.
    plans = [
        {**config, "recipe": {**config["recipe"], "epochs": 0}} for config in (started, record)
    ]
    for key, option in (("recipe", "recipe"), ("seed", "seed"), ("extra_frames", "extra")):
        if plans[0].get(key) != plans[1][key]:
            raise UsageError(
                f"{folder} was started with another --{option}: give the same one to resume"
            )
    used = {key: value for key, value in started.items() if key.endswith("_sha256")}
    budget = record["time_budget_s"] or started.get("time_budget_s")
    return record | used | {"time_budget_s": budget}


def git_revision() -> str | None:
    """The commit that the package runs from, `+` behind it if files were changed; None without."""
    folder = Path(__file__).resolve().parent
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip() or None


def write_config(folder: Path, record: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write `config.json`: the record of `run_record`, and facts about machine and data.

    Raises:
        SinkError: the folder cannot be written.
    """
    write_text(folder / "config.json", json.dumps(record | facts, indent=2) + "\n")


def write_text(path: Path, text: str, mode: str = "w") -> None:
    """Write or append (`a`) to a file of the run.

    Raises:
        SinkError: the file cannot be written.
    """
    try:
        with path.open(mode, encoding="utf-8") as file:
            file.write(text)
    except OSError as exc:
        raise SinkError(
            f"cannot write {path} ({exc.strerror or exc}): free some space and go on with --resume"
        ) from exc
