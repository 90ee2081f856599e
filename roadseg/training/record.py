"""What a run was started with, so that a resumption cannot quietly become another run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.files import write_json
from roadseg.core.labels import CAMVID, ClassSet, known_class_set
from roadseg.core.wording import option
from roadseg.training.recipes import Augmentation, Recipe
from roadseg.weights.manifest import sha256_of

__all__ = [
    "check_resumption",
    "check_schedule",
    "epochs_of",
    "git_revision",
    "run_record",
    "write_config",
]

_OPTIONS = {
    "recipe": "--recipe",
    "seed": "--seed",
    "extra_frames": "--extra",
    "teacher_sha256": "--teacher",
}
"""What must stay as it was, and the option that sets it."""


def run_record(
    model_name: str,
    recipe: Recipe,
    seed: int,
    time_budget_s: float | None,
    frames: int,
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
        "frames": frames,
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

    A longer budget is a reason to resume. Another recipe, seed, teacher or mix of data would make
    a run that no command describes.

    Raises:
        ModelError: `folder` holds no run.
        UsageError: the run was started otherwise.
    """
    started = _read_config(folder)
    if started["model"] != record["model"]:
        raise ModelError(
            f"{folder} is a run of {started['model']}",
            fix=f"use {option('--model', started['model'], parameter='model_name')}",
        )
    # Runs of the first versions, which knew CamVid only, do not say.
    first, now = (known_class_set(tuple(c.get("classes", CAMVID.names))) for c in (started, record))
    if not first.same_classes(now):
        raise UsageError(
            f"{folder} was started on {first.brief}, and the data has {now.brief}",
            fix=f"give the same {option('--data')} to resume",
        )
    if started.get("frames", record["frames"]) != record["frames"]:
        raise UsageError(
            f"{folder} was started on {started['frames']} frames, and the data has "
            f"{record['frames']}",
            fix=f"give the same {option('--data')} to resume",
        )
    for key, name in _OPTIONS.items():
        before, given = _plan(started, key), _plan(record, key)
        if before and not given:
            raise UsageError(
                f"{folder} was started with {option(name)}", fix="give it again to resume"
            )
        if given and not before:
            raise UsageError(
                f"{folder} was started without {option(name)}", fix="leave it out to resume"
            )
        if before != given:
            raise UsageError(
                f"{folder} was started with another {option(name)}",
                fix="give the same one to resume",
            )
    for role, name in (("init", "--init"), ("encoder", "--encoder-weights")):
        given = record.get(f"{role}_sha256")
        if given is not None and given != started.get(f"{role}_sha256"):
            raise UsageError(
                f"{folder} did not start from the weights of {option(name)}",
                fix="leave it out to resume",
            )
    budget = record["time_budget_s"] or started.get("time_budget_s")
    if not record["time_budget_s"] and budget and _epochs(started) != _epochs(record):
        raise UsageError(
            f"{folder} was started with {_budget()}, which ends it",
            fix=f"give a longer one instead of {option('--epochs', parameter='another recipe')}",
        )
    # Weights that a run starts from are used once, and need not be given again.
    used = {key: value for key, value in started.items() if key.endswith("_sha256")}
    return record | used | {"time_budget_s": budget}


def check_schedule(folder: Path, recipe: Recipe, time_budget_s: float | None) -> None:
    """Refuse to go on with a run that was planned to end at another time.

    Raises:
        ModelError: `folder` holds no run.
        UsageError: it was.
    """
    started = _read_config(folder)
    budget = started.get("time_budget_s")
    if budget != time_budget_s:
        before = f"with {_budget(budget)}" if budget else f"without {_budget()}"
        raise UsageError(f"{folder} was started {before}", fix="do the same to resume")
    if budget is None and _epochs(started) != recipe.epochs:
        raise UsageError(
            f"{folder} was started for {_epochs(started)} epochs, and the recipe has "
            f"{recipe.epochs}",
            fix="use the same recipe to resume",
        )


def epochs_of(folder: Path) -> int:
    """How many epochs the run of a folder was last told to have.

    Raises:
        ModelError: `folder` holds no run.
    """
    return int(_epochs(_read_config(folder)))


def _read_config(folder: Path) -> dict[str, Any]:
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
            fix="remove the folder and start again, or choose another "
            f"{option('--output', parameter='folder')}",
        ) from exc
    checked: dict[str, Any] = config
    return checked


def _epochs(config: dict[str, Any]) -> Any:
    return config["recipe"]["epochs"]


def _defaults(kind: type) -> dict[str, Any]:
    """What recipes of earlier versions, which do not say, did."""
    return {
        field.name: field.default
        for field in dataclasses.fields(kind)
        if field.default is not dataclasses.MISSING
    }


def _plan(config: dict[str, Any], key: str) -> Any:
    """What an option set; empty or absent without it."""
    if key == "recipe":  # more epochs are a longer budget in other words
        recipe = _defaults(Recipe) | config["recipe"] | {"epochs": 0}
        return recipe | {"augmentation": _defaults(Augmentation) | recipe["augmentation"]}
    return [config["seed"]] if key == "seed" else config.get(key)


def git_revision() -> str | None:
    """The commit that the package runs from, `+` behind it if files were changed; None without."""
    here = Path(__file__).resolve()
    try:
        # Installed into somebody's project, the package lies in a repository of theirs.
        _git("ls-files", "--error-unmatch", here.name, folder=here.parent)
        described = _git(
            "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+", folder=here.parent
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return described.strip() or None


def _git(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout


def write_config(folder: Path, record: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write `config.json`: the record of `run_record`, and facts about machine and data.

    Raises:
        SinkError: the folder cannot be written.
    """
    write_json(folder / "config.json", record | facts)


def _budget(seconds: float | None = None) -> str:
    """How to give a time budget, for a message: in minutes on the command line."""
    typed, written = ["--time-budget"], ["time_budget_s"]
    if seconds is not None:
        typed.append(f"{seconds / 60:g}")
        written.append(f"{seconds:g}")
    return option(" ".join(typed), parameter="=".join(written))
