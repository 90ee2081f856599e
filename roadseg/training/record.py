"""What a run was started with, so that a resumption cannot quietly become another run."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from pathlib import Path
from typing import Any

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.labels import CAMVID, known_class_set
from roadseg.core.wording import option
from roadseg.training.folder import planned_epochs, read_config
from roadseg.training.recipes import Augmentation, Recipe
from roadseg.training.spec import RunSpec, budget_option
from roadseg.weights.manifest import sha256_of

_OPTIONS = {
    "recipe": "--recipe",
    "seed": "--seed",
    "extra_frames": "--extra",
    "teacher_sha256": "--teacher",
}
"""What must stay as it was, and the option that sets it."""


def run_record(spec: RunSpec) -> dict[str, Any]:
    """What a resumption must agree with, as JSON gives it back."""
    files = {"init": spec.init, "encoder": spec.encoder_weights, "teacher": spec.teacher}
    record = {
        "model": spec.model,
        "recipe": dataclasses.asdict(spec.recipe),
        "seed": spec.seed,
        "time_budget_s": spec.time_budget_s,
        "frames": len(spec.data),
        "extra_frames": 0 if spec.extra is None else len(spec.extra),
        "classes": spec.classes.names,
        **{
            f"{role}_sha256": sha256_of(path)
            for role, path in files.items()
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
    started = read_config(folder)
    if started["model"] != record["model"]:
        raise ModelError(
            f"{folder} is a run of {started['model']}",
            fix=f"use {option('--model', started['model'])}",
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
    if not record["time_budget_s"] and budget and planned_epochs(started) != planned_epochs(record):
        raise UsageError(
            f"{folder} was started with {budget_option()}, which ends it",
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
    started = read_config(folder)
    budget = started.get("time_budget_s")
    if budget != time_budget_s:
        before = f"with {budget_option(budget)}" if budget else f"without {budget_option()}"
        raise UsageError(f"{folder} was started {before}", fix="do the same to resume")
    if budget is None and planned_epochs(started) != recipe.epochs:
        raise UsageError(
            f"{folder} was started for {planned_epochs(started)} epochs, and the recipe has "
            f"{recipe.epochs}",
            fix="use the same recipe to resume",
        )


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
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        timeout=10,
        check=True,
    )
    return done.stdout
