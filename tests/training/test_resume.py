"""Going on with a run: to the very same weights, from whatever moment it ended at."""

from __future__ import annotations

import json
import math
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
from roadseg.models import build_model, load_weights, save_weights
from roadseg.training import checkpoint, validation
from roadseg.training.checkpoint import load_checkpoint, save_checkpoint
from roadseg.training.progress import TrainingProgress
from roadseg.training.recipes import Recipe

pytestmark = pytest.mark.usefixtures("as_typed")

Make = Callable[..., Any]


def state(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    del content["elapsed_s"]
    return content


def log(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(x) for x in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()]
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


@pytest.mark.parametrize("validated", [False, True])
def test_a_run_that_is_told_to_end_where_it_stands_has_weights(
    recipe: Make, run: Make, tmp_path: Path, validated: bool
) -> None:
    folder = tmp_path / "run"
    every = 2 if validated else 5

    def interrupt(state: TrainingProgress) -> None:
        if state.epoch == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(folder, recipe(epochs=9, validate_every=every), on_step=interrupt)
    assert (folder / "best.safetensors").exists() == validated
    result = run(folder, recipe(epochs=3, validate_every=every), resume=True)
    assert result.epochs == 3
    assert not math.isnan(result.best_miou)
    assert result.best_epoch in ((2, 3) if validated else (3,))
    assert load_weights(result.weights)[1]["validation_miou"] == result.best_miou


def test_a_file_that_is_ahead_of_the_checkpoint_is_not_replaced_by_less(
    recipe: Make, run: Make, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    run(folder, recipe(epochs=1))
    model, meta = load_weights(folder / "best.safetensors")
    del meta["model"]
    save_weights(
        folder / "best.safetensors",
        model,
        "segnet-lite",
        **{**meta, "validation_miou": 0.99, "epoch": 2},
    )
    result = run(folder, recipe(epochs=2), resume=True)
    assert (result.best_miou, result.best_epoch) == (0.99, 2)
