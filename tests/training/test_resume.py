"""Going on with a run: to the very same weights, from whatever moment it ended at."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from threading import Event
from typing import Any, BinaryIO

import pytest
import torch

from roadseg import training
from roadseg.core.errors import ModelError, SinkError, UsageError
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.labelled import CAMVID_CODE, LabelledSet
from roadseg.models import build_model, save_weights
from roadseg.training import checkpoint, record, validation
from roadseg.training.checkpoint import load_checkpoint, save_checkpoint
from roadseg.training.progress import TrainingProgress
from roadseg.training.recipes import Recipe
from roadseg.training.record import check_resumption
from roadseg.training.spec import RunSpec
from roadseg.weights.manifest import sha256_of

pytestmark = pytest.mark.usefixtures("as_typed")

Make = Callable[..., Any]


def state(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    del content["elapsed_s"]
    return content


def log(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(x) for x in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in x.items() if key != "elapsed_s"} for x in lines]


def logged_epochs(folder: Path) -> list[int]:
    return [line["epoch"] for line in log(folder)]


def event_epochs(folder: Path) -> list[int]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    return [event.step for event in events.Scalars("loss")]


def everything(recipe: Make, tiny_camvid: Path, folder: Path) -> tuple[Recipe, dict[str, Any]]:
    """A recipe and options that use all that a run can remember."""
    save_weights(
        folder / "teacher.safetensors",
        build_model("bilinear-interpolation"),
        "bilinear-interpolation",
    )
    settings = recipe(epochs=4, schedule="cosine", swa_share=0.4, extra_share=0.34, hard_share=0.5)
    return settings, {
        "teacher": folder / "teacher.safetensors",
        "extra": CamVid(tiny_camvid, "val"),
    }


def test_resuming_gives_the_weights_of_an_uninterrupted_run(
    recipe: Make, run: Make, tiny_camvid: Path, tmp_path: Path
) -> None:
    settings, options = everything(recipe, tiny_camvid, tmp_path)
    whole = run(tmp_path / "whole", settings, **options)

    def interrupt(progress: TrainingProgress) -> None:
        if progress.epoch == 2 and progress.step == whole_steps // 2 + 1:  # within the third epoch
            raise KeyboardInterrupt

    whole_steps = state(tmp_path / "whole")["step"]
    assert whole_steps == whole.epochs * 3
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", settings, on_step=interrupt, **options)
    assert state(tmp_path / "cut")["epoch"] == 2
    run(tmp_path / "cut", settings, resume=True, **options)
    expected, got = state(tmp_path / "whole"), state(tmp_path / "cut")
    assert expected["average"][:2] == got["average"][:2]
    assert got["average"][1] > 0  # some were averaged evenly
    for part in ("model", "average"):
        pairs = (
            (expected[part], got[part]) if part == "model" else (expected[part][2], got[part][2])
        )
        for key, value in pairs[0].items():
            assert torch.equal(value, pairs[1][key]), key
    assert log(tmp_path / "whole") == log(tmp_path / "cut")
    best = [(tmp_path / x / "best.safetensors").read_bytes() for x in ("whole", "cut")]
    assert best[0] == best[1]


@pytest.mark.parametrize("killed_in", ["validation.save_weights", "trainer.CheckpointWriter.write"])
def test_killed_while_an_epoch_is_written(
    recipe: Make,
    run: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed_in: str,
) -> None:
    folder, settings = tmp_path / "run", recipe(epochs=3)
    written = attrgetter(killed_in)(training)
    calls = []

    def killed(*args: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        written(*args, **options)

    judge = _always_better(validation.BestWeights.judge)
    monkeypatch.setattr(validation.BestWeights, "judge", judge)
    with monkeypatch.context() as patch:
        patch.setattr(f"roadseg.training.{killed_in}", killed)
        with pytest.raises(KeyboardInterrupt):
            run(folder, settings)
    assert state(folder)["epoch"] == 1
    run(folder, settings, resume=True)
    assert logged_epochs(folder) == [1, 2, 3]
    assert event_epochs(folder) == [1, 2, 3]


def _always_better(judge: Callable[..., Any]) -> Callable[..., Any]:
    def better(self: validation.BestWeights, *args: Any) -> Any:
        self.miou = math.nan
        return judge(self, *args)

    return better


def test_a_run_that_never_got_to_a_checkpoint_leaves_no_trace(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: dict[str, Any]) -> None:
        raise SinkError("the disk is full")

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_checkpoint", full)
        with pytest.raises(SinkError):
            run(folder, recipe(epochs=1))
    assert logged_epochs(folder) == [1]
    with pytest.raises(ModelError) as caught:
        run(folder, recipe(epochs=1), resume=True)
    assert str(caught.value) == (f"no checkpoint at {folder / 'last.ckpt'}: start without --resume")
    run(folder, recipe(epochs=1))
    assert logged_epochs(folder) == event_epochs(folder) == [1]


def test_training_goes_on_while_a_checkpoint_is_written(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C in the second epoch, while the checkpoint of the first one is being written."""
    second_epoch, kept = Event(), []

    def slowly(path: Path, content: dict[str, Any]) -> None:
        kept.append(second_epoch.wait(60))
        save_checkpoint(path, content)

    def interrupt(progress: TrainingProgress) -> None:
        if progress.epoch == 1:
            assert not (tmp_path / "run" / "last.ckpt").exists()
            second_epoch.set()
            raise KeyboardInterrupt

    settings = recipe(epochs=2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_checkpoint", slowly)
        with pytest.raises(KeyboardInterrupt):
            run(tmp_path / "run", settings, on_step=interrupt)
    assert kept == [True, True]  # of the first epoch, best.ckpt, too
    # What was written is what the epoch left, not what the step after it made of that.
    run(tmp_path / "run", settings, resume=True)
    run(tmp_path / "whole", settings)
    whole, cut = state(tmp_path / "whole")["model"], state(tmp_path / "run")["model"]
    for key, value in whole.items():
        assert torch.equal(value, cut[key]), key


def test_a_checkpoint_that_failed_ends_the_run_after_the_next_epoch(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: dict[str, Any]) -> None:
        if content["epoch"] == 2:
            tried.set()
            raise SinkError("the disk is full")
        save_checkpoint(path, content)

    def wait(progress: TrainingProgress) -> None:
        if progress.epoch == 2:
            assert tried.wait(60)

    folder, settings, tried = tmp_path / "run", recipe(epochs=4), Event()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_checkpoint", full)
        with pytest.raises(SinkError, match="the disk is full"):
            run(folder, settings, on_step=wait)
    assert logged_epochs(folder)[:3] == [1, 2, 3]
    assert state(folder)["epoch"] == 1
    run(folder, settings, resume=True)
    assert logged_epochs(folder) == [1, 2, 3, 4]


def test_a_folder_with_a_run_is_not_overwritten(recipe: Make, run: Make, tmp_path: Path) -> None:
    run(tmp_path / "run", recipe(epochs=1))
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "run", recipe(epochs=1))
    assert str(caught.value) == (
        f"{tmp_path / 'run'} holds a run: go on with --resume or choose another --output"
    )


def test_resuming_nothing(recipe: Make, run: Make, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        run(tmp_path / "none", recipe(epochs=1), resume=True)
    assert str(caught.value) == f"no checkpoint at {tmp_path / 'none'}: start without --resume"


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
    config = json.loads((folder / "config.json").read_text())
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
    before = (folder / "config.json").read_text()

    def full(self: Path, content: bytes) -> int:
        with self.open("wb") as file:
            file.write(content[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(SinkError) as caught:
        run(folder, recipe(epochs=2), resume=True)
    assert str(caught.value).startswith(f"cannot write {folder / 'config.json'} (No space left")
    assert (folder / "config.json").read_text() == before


def test_checkpoints_of_another_network_or_version(tmp_path: Path, recipe: Make, run: Make) -> None:
    folder = tmp_path / "run"
    run(folder, recipe(epochs=1))
    with pytest.raises(ModelError) as caught:
        load_checkpoint(folder / "last.ckpt", "segnet")
    assert str(caught.value) == (
        f"{folder / 'last.ckpt'} is a checkpoint of segnet-lite: use --model segnet-lite"
    )
    content = torch.load(folder / "last.ckpt", weights_only=True)
    for spoil in ("model", "average"):
        spoilt = dict(content)
        if spoil == "model":
            spoilt["model"] = {k: v for k, v in content["model"].items() if "stem" not in k}
        else:
            del spoilt["average"]
        save_checkpoint(folder / "last.ckpt", spoilt)
        with pytest.raises(ModelError) as odd:
            run(folder, recipe(epochs=2), resume=True)
        assert str(odd.value) == (
            f"{folder / 'last.ckpt'} does not fit segnet-lite as it is now: start again with "
            "another --output"
        )


@pytest.mark.usefixtures("clock")
def test_resuming_keeps_the_time_budget(recipe: Make, run: Make, tmp_path: Path) -> None:
    def interrupt(progress: TrainingProgress) -> None:
        if progress.epoch == 1:
            raise KeyboardInterrupt

    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        run(folder, recipe(), time_budget_s=12.0, on_step=interrupt)
    result = run(folder, recipe(), resume=True)
    assert result.elapsed_s == 12.0


def test_a_failed_checkpoint_leaves_the_previous_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.ckpt"
    save_checkpoint(path, {"epoch": 1})

    def full(_content: Any, file: BinaryIO) -> None:
        # As PyTorch's writer does it: the file is half there, and the reason is hidden.
        file.write(b"half")
        try:
            raise OSError(28, "No space left on device")
        finally:
            raise RuntimeError("[enforce fail] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(SinkError) as caught:
        save_checkpoint(path, {"epoch": 2})
    assert str(caught.value) == (
        f"cannot write {path} (No space left on device): the previous one is intact; free some "
        "space and go on with --resume"
    )
    assert torch.load(path) == {"epoch": 1}
    assert list(tmp_path.iterdir()) == [path]
    path.unlink()
    with pytest.raises(SinkError) as first:
        save_checkpoint(path, {"epoch": 1})
    assert str(first.value) == (
        f"cannot write {path} (No space left on device): free some space and start again"
    )
