"""What a run is remembered by, and what may not change when it goes on."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roadseg.core.errors import ModelError, SinkError, UsageError
from roadseg.datasets.labelled import CAMVID_CODE, LabelledSet
from roadseg.training import record
from roadseg.training.recipes import Recipe
from roadseg.training.record import check_resumption
from roadseg.training.spec import RunSpec
from roadseg.weights.manifest import sha256_of

pytestmark = pytest.mark.usefixtures("as_typed")

Make = Callable[..., Any]


class Counted(LabelledSet):
    """So many frames, which nobody reads."""

    def __init__(self, count: int) -> None:
        super().__init__(Path("data"), "train", [(Path(), Path())] * count, CAMVID_CODE)


def run_record(
    recipe: Recipe,
    frames: int = 367,
    extra_frames: int = 0,
    files: dict[str, Path] | None = None,
    **changes: Any,
) -> dict[str, Any]:
    """What a run is remembered by, of segnet-lite where `changes` do not say otherwise."""
    options: dict[str, Any] = {"model": "segnet-lite", "seed": 3, "output": Path("run"), **changes}
    roles = {"init": "init", "encoder": "encoder_weights", "teacher": "teacher"}
    options |= {roles[role]: path for role, path in (files or {}).items()}
    spec = RunSpec(
        data=Counted(frames),
        validation=Counted(1),
        extra=Counted(extra_frames) if extra_frames else None,
        recipe=recipe,
        **options,
    )
    return record.run_record(spec)


def started(folder: Path, settings: Recipe, **changes: Any) -> Path:
    """A folder whose run was started so."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(run_record(settings, **changes)))
    return folder


@pytest.mark.parametrize(
    ("before", "now", "complaint"),
    [
        ({}, {"model": "segnet"}, " is a run of segnet-lite: use --model segnet-lite"),
        ({}, {"seed": 0}, " was started with another --seed: give the same one to resume"),
        ({"seed": 0}, {"seed": 3}, " was started with another --seed: give the same one to resume"),
        (
            {},
            {"frames": 6},
            " was started on 367 frames, and the data has 6: give the same --data to resume",
        ),
        (
            {},
            {"extra_frames": 9},
            " was started without --extra: leave it out to resume",
        ),
        ({"extra_frames": 9}, {}, " was started with --extra: give it again to resume"),
        (
            {"extra_frames": 9},
            {"extra_frames": 8},
            " was started with another --extra: give the same one to resume",
        ),
    ],
)
def test_resuming_otherwise_than_started(
    recipe: Make,
    tmp_path: Path,
    before: dict[str, Any],
    now: dict[str, Any],
    complaint: str,
) -> None:
    settings = recipe(epochs=2)
    folder = started(tmp_path / "run", settings, **before)
    given = run_record(settings, **{**before, **now})
    if "extra_frames" in before and not now:
        given["extra_frames"] = 0
    with pytest.raises((UsageError, ModelError)) as caught:
        check_resumption(folder, given)
    assert str(caught.value) == f"{folder}{complaint}"


def test_resuming_with_another_recipe_or_more_epochs(recipe: Make, tmp_path: Path) -> None:
    folder = started(tmp_path / "run", recipe(epochs=2))
    with pytest.raises(UsageError) as caught:
        check_resumption(folder, run_record(recipe=recipe(epochs=2, momentum=0.5)))
    assert str(caught.value) == (
        f"{folder} was started with another --recipe: give the same one to resume"
    )
    more = check_resumption(folder, run_record(recipe=recipe(epochs=9)))
    assert more["recipe"]["epochs"] == 9
    # A longer budget is a way to go on, too, and what follows keeps to it.
    assert (
        check_resumption(folder, run_record(recipe=recipe(epochs=2), time_budget_s=60.0))[
            "time_budget_s"
        ]
        == 60.0
    )
    started(folder, recipe(epochs=2), time_budget_s=60.0)
    assert check_resumption(folder, run_record(recipe=recipe(epochs=2)))["time_budget_s"] == 60.0
    with pytest.raises(UsageError) as both:
        check_resumption(folder, run_record(recipe=recipe(epochs=9)))
    assert str(both.value) == (
        f"{folder} was started with --time-budget, which ends it: give a longer one instead of "
        "--epochs"
    )


def test_a_teacher_is_needed_to_the_end(recipe: Make, tmp_path: Path) -> None:
    teachers = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for path in teachers:
        path.write_text(path.name)
    settings = recipe(epochs=2)
    folder = started(
        tmp_path / "run", settings, files={"teacher": teachers[0], "init": teachers[1]}
    )
    for given, complaint in (
        ({}, "was started with --teacher: give it again to resume"),
        (
            {"teacher": teachers[1]},
            "was started with another --teacher: give the same one to resume",
        ),
    ):
        with pytest.raises(UsageError) as caught:
            check_resumption(folder, run_record(recipe=settings, files=given))
        assert str(caught.value) == f"{folder} {complaint}"
    kept = check_resumption(folder, run_record(recipe=settings, files={"teacher": teachers[0]}))
    assert kept["init_sha256"] != kept["teacher_sha256"]


@pytest.mark.parametrize(("role", "option"), [("init", "init"), ("encoder", "encoder-weights")])
def test_weights_that_a_run_did_not_start_from(
    recipe: Make, tmp_path: Path, role: str, option: str
) -> None:
    own, other = tmp_path / "own.safetensors", tmp_path / "other.safetensors"
    own.write_text("own")
    other.write_text("other")
    folder = started(tmp_path / "run", recipe(), files={role: own})
    for files in ({}, {role: own}):
        kept = check_resumption(folder, run_record(recipe=recipe(), files=files))
        assert kept[f"{role}_sha256"] == sha256_of(own)
    for before in ({role: own}, {}):
        started(folder, recipe(), files=before)
        with pytest.raises(UsageError) as caught:
            check_resumption(folder, run_record(recipe=recipe(), files={role: other}))
        assert str(caught.value) == (
            f"{folder} did not start from the weights of --{option}: leave it out to resume"
        )


def test_runs_of_versions_that_knew_fewer_keys_go_on(recipe: Make, tmp_path: Path) -> None:
    folder = started(tmp_path / "run", recipe())
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    del config["recipe"]["dropout"], config["recipe"]["augmentation"]["glare_share"]
    (folder / "config.json").write_text(json.dumps(config))
    check_resumption(folder, run_record(recipe=recipe()))
    with pytest.raises(UsageError, match="was started with another --recipe"):
        check_resumption(folder, run_record(recipe=recipe(dropout=0.5)))


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.skipif(shutil.which("git") is None, reason="there is no git")
def test_the_revision_is_that_of_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Nothing of the user's own git: neither its configuration nor the repository of a hook.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, os.devnull)
    module = tmp_path / "record.py"
    module.write_text("")
    monkeypatch.setattr(record, "__file__", str(module))
    assert record.git_revision() is None
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "somebody's project")
    assert record.git_revision() is None  # the package is only installed there
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "--quiet", "-m", "the package")
    assert record.git_revision() == git(tmp_path, "rev-parse", "HEAD")
    module.write_text("changed")
    assert record.git_revision() == git(tmp_path, "rev-parse", "HEAD") + "+"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": "segnet"}'])
def test_a_damaged_configuration(recipe: Make, tmp_path: Path, text: str) -> None:
    given = run_record(recipe(), frames=1)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ModelError) as caught:
        check_resumption(tmp_path, given)
    assert str(caught.value) == (
        f"{tmp_path / 'config.json'} is damaged: remove the folder and start again, or choose "
        "another --output"
    )


def test_a_configuration_is_replaced_in_one_step(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    run(folder, recipe(epochs=1))
    before = (folder / "config.json").read_text(encoding="utf-8")

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SinkError) as caught:
        run(folder, recipe(epochs=2), resume=True)
    assert str(caught.value).startswith(f"cannot write {folder / 'config.json'} (No space left")
    assert (folder / "config.json").read_text(encoding="utf-8") == before
