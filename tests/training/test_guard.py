"""Runs that diverge: noticed, taken back at half the rate, and given up after three times."""

from __future__ import annotations

import functools
import json
import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch

from roadseg import models
from roadseg.core.errors import ModelError
from roadseg.training import guard as guard_module
from roadseg.training import learner, trainer
from roadseg.training.checkpoint import CheckpointWriter
from roadseg.training.guard import Guard
from roadseg.training.progress import EpochEnd, TrainingProgress
from tests.support.tiny_segnet import TinySegNet

Make = Callable[..., Any]


def log(folder: Path) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (folder / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]


def first_alarm(watching: Guard, losses: Iterable[float]) -> int | None:
    """The epoch after which a guard says that the run has diverged."""
    for epoch, loss in enumerate(losses, start=1):
        if watching.watch(epoch, loss) is not None:
            return epoch
    return None


@pytest.fixture
def run(run: Make, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Of a tiny network: what is tested is when a run goes back, not what it learns."""
    monkeypatch.setitem(models._BUILDERS, "tiny", TinySegNet)
    return functools.partial(run, model="tiny")


@pytest.fixture
def watching(recipe: Make) -> Callable[..., Guard]:
    """A guard of a run with thirty steps an epoch."""

    def made(**changes: Any) -> Guard:
        return Guard(recipe(**changes), 30)

    return made


def falling(count: int, noise: float = 0.0) -> list[float]:
    """Losses from 6 towards 2."""
    chance = random.Random(0)
    return [(2 + 4 * math.exp(-i / 15)) * (1 + chance.gauss(0, noise)) for i in range(count)]


def test_noise_is_no_divergence(watching: Make) -> None:
    assert first_alarm(watching(), falling(600, noise=0.15)) is None


@pytest.mark.parametrize("height", [10.0, 1e9])
def test_two_bad_epochs_are_no_divergence_and_three_are(watching: Make, height: float) -> None:
    losses = falling(80)
    assert first_alarm(watching(), [*losses[:50], height, height, *losses[50:]]) is None
    assert first_alarm(watching(), [*losses[:50], *[height] * 3, *losses[50:]]) == 53


def test_a_slow_rise_is_noticed(watching: Make) -> None:
    losses = [*falling(70), *(2.05 + 0.03 * i for i in range(200))]
    # 1.5 times the best of 2.04 is reached after 35 epochs, by their median two later.
    assert first_alarm(watching(), losses) == pytest.approx(70 + 37, abs=1)
    assert first_alarm(watching(guard_rise=3.0), losses) == pytest.approx(70 + 139, abs=2)
    assert first_alarm(watching(guard_rise=0.0), losses) is None


def test_a_loss_close_to_zero_may_double(watching: Make) -> None:
    losses = [*falling(20), *[0.01] * 20, *[0.1] * 20]
    assert first_alarm(watching(), losses) is None
    assert first_alarm(watching(), [*losses, *[0.6] * 20]) == 63


def test_a_loss_may_rise_with_the_rate_in_the_warm_up(watching: Make) -> None:
    # Weights that fit (--init), and a rate that grows.
    losses = [0.8, 0.8, 0.8, 0.8, 0.8, 1.0, 1.2, 1.4, 1.6, 1.6, 1.6, 1.5, 1.4, 1.3]
    assert first_alarm(watching(warmup_epochs=10), losses) is None
    assert first_alarm(watching(), losses) == 10


def test_few_steps_an_epoch_make_a_longer_median(recipe: Make) -> None:
    # Two steps an epoch: a batch or two that are hard say little.
    losses = [*[2.0] * 30, *[9.0] * 12, *[2.0] * 30]
    assert first_alarm(Guard(recipe(), 2), losses) is None
    assert first_alarm(Guard(recipe(), 30), losses) == 33


def test_what_is_kept_is_near_the_best_and_not_on_its_way_up(watching: Make) -> None:
    made, kept = watching(validate_every=10), []
    for epoch, loss in enumerate([*falling(60), *(2.1 + 0.1 * i for i in range(15))], start=1):
        if made.watch(epoch, loss) is not None:
            break
        if made.is_time_to_keep(epoch):
            made.kept = epoch
            kept.append(epoch)
    assert kept == [1, 11, 21, 31, 41, 51]
    assert epoch > 65


def test_a_guard_goes_on_from_its_state(watching: Make) -> None:
    losses = [*falling(40), *[9.0] * 3]
    whole, cut = watching(), watching()
    assert first_alarm(whole, losses) == 43
    assert first_alarm(cut, losses[:41]) is None
    cut.kept, cut.returns = 31, 2
    again = watching()
    again.restore(json.loads(json.dumps(cut.state())))
    assert (again.kept, again.returns, again.rate_scale) == (31, 2, 0.25)
    assert again.watch(42, 9.0) is None
    assert again.watch(43, 9.0) is not None


def test_a_best_loss_that_is_forgotten_is_measured_anew(watching: Make) -> None:
    made = watching()
    assert first_alarm(made, [1.0] * 20) is None
    made.forget()
    assert first_alarm(made, [2.0] * 20) is None
    assert first_alarm(made, [3.1] * 20) == 3


# -- whole runs ----------------------------------------------------------------------------


@pytest.fixture
def short_median(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five epochs, though they are of two steps each."""
    monkeypatch.setattr(guard_module, "_STEPS", 1)


def spoil(
    monkeypatch: pytest.MonkeyPatch, spoilt: Callable[[int], bool], factor: float = 20.0
) -> None:
    """Multiplies the losses of steps, by their number from 0, and their gradients with them."""
    step = learner.LossOf.forward
    count = [0]

    def forward(self: Any, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = step(self, images, labels)
        count[0] += 1
        return loss * factor if spoilt(count[0] - 1) else loss

    monkeypatch.setattr(learner.LossOf, "forward", forward)


@pytest.mark.usefixtures("short_median")
def test_a_run_that_diverges_goes_back_and_on_at_half_the_rate(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, lambda step: 20 <= step < 26)  # epochs 11 to 13
    ends: list[EpochEnd] = []
    settings = recipe(epochs=18, poly_power=0.0, validate_every=4)
    run(tmp_path / "run", settings, on_epoch=ends.append)
    lines = log(tmp_path / "run")
    assert [line["epoch"] for line in lines] == [end.epoch for end in ends] == list(range(1, 19))
    (back,) = (line for line in lines if "returned_to" in line)
    assert back["epoch"] == 13
    assert back["returned_to"] <= 10
    assert back["rate_scale"] == 0.5
    rates = [line["learning_rate"] for line in lines]
    assert rates == [settings.learning_rate] * 13 + [settings.learning_rate / 2] * 5
    (note,) = (end.note for end in ends if end.note is not None)
    assert note.startswith("the loss has risen from ")
    assert note.endswith(
        f" by epoch 13: went back to the weights of epoch {back['returned_to']}, at 0.5 of the "
        "learning rate (1 of 3 times)"
    )
    # What it went back to was as good as it had been.
    assert lines[13]["loss"] < lines[back["returned_to"] - 1]["loss"] * 1.5


def test_a_loss_that_is_no_number_goes_back_at_once(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[int] = []
    spoil(monkeypatch, lambda step: step == 4, math.nan)  # the first batch of epoch 3
    ends: list[EpochEnd] = []
    run(
        tmp_path / "run",
        recipe(epochs=5),
        on_epoch=ends.append,
        on_step=lambda progress: taken.append(progress.epoch),
    )
    assert [end.note for end in ends if end.note] == [
        "the loss is nan in batch 1 of 2 of epoch 3: went back to the weights of epoch 2, at 0.5 "
        "of the learning rate (1 of 3 times)"
    ]
    lines = log(tmp_path / "run")
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert [line["loss"] is None for line in lines] == [False, False, True, False, False]
    assert lines[-1]["step"] == 10  # the schedule is that of five epochs
    assert math.isfinite(ends[2].miou)  # of the weights that it went back to
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in state["model"].values())


def test_weights_that_the_last_step_spoilt_are_not_kept(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, step = tmp_path / "run", trainer.Trainer._step

    def spoilt(self: trainer.Trainer, *args: Any) -> torch.Tensor:
        loss = step(self, *args)
        if self.course.step == 4:
            next(self.learner.model.parameters()).data[0] = torch.inf
        return loss

    monkeypatch.setattr(trainer.Trainer, "_step", spoilt)
    ends: list[EpochEnd] = []
    run(folder, recipe(epochs=3), on_epoch=ends.append)
    assert ends[1].note == (
        "the weights are not finite at the end of epoch 2: went back to the weights of epoch 1, "
        "at 0.5 of the learning rate (1 of 3 times)"
    )
    state = torch.load(folder / "last.ckpt", weights_only=True)
    assert all(value.isfinite().all() for value in state["model"].values())


@pytest.mark.parametrize(("times", "words"), [(3, ", though the run went back 3 times"), (0, "")])
def test_after_three_times_it_stops(
    recipe: Make,
    run: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
    words: str,
) -> None:
    folder = tmp_path / "run"
    spoil(monkeypatch, lambda step: step >= 2, math.nan)
    with pytest.raises(ModelError) as caught:
        run(folder, recipe(epochs=9, guard_returns=times))
    assert str(caught.value) == (
        f"the loss is nan in batch 1 of 2 of epoch {times + 2}{words}: {folder / 'last.ckpt'} is "
        "the last checkpoint: start another run with a lower learning_rate or a clip_norm, from "
        f"{folder / 'best.safetensors'} with init"
    )
    lines = log(folder)
    assert [line.get("rate_scale") for line in lines] == [None, 0.5, 0.25, 0.125][: times + 1]
    assert (folder / "curves.png").exists()


@pytest.mark.usefixtures("short_median")
def test_a_slow_rise_stops_a_run_after_three_times(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean = trainer.World.mean
    losses = iter([2.0] * 8 + [2.0 + 0.1 * i for i in range(100)])

    def made_up(self: trainer.World, value: float) -> float:
        # The mean of an epoch's losses, and whether weights are finite.
        return mean(self, value) if value == 1.0 else next(losses)

    monkeypatch.setattr(trainer.World, "mean", made_up)
    with pytest.raises(ModelError) as caught:
        run(tmp_path / "run", recipe(epochs=80, validate_every=100))
    assert str(caught.value).startswith("the loss has risen from 2 to ")
    assert ", though the run went back 3 times: " in str(caught.value)
    backs = [line["epoch"] for line in log(tmp_path / "run") if "returned_to" in line]
    # The first rise is noticed when the median is above 3; the next ones after five epochs each.
    assert backs == [22, 27, 32]


def test_a_resumed_run_goes_on_at_the_rate_that_it_had_come_to(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(epochs=6, poly_power=0.0)

    def interrupt(progress: TrainingProgress) -> None:
        if progress.epoch == 4:
            raise KeyboardInterrupt

    for name in ("whole", "cut"):
        with monkeypatch.context() as patch:
            spoil(patch, lambda step: step == 4, math.nan)
            if name == "whole":
                run(tmp_path / name, settings)
            else:
                with pytest.raises(KeyboardInterrupt):
                    run(tmp_path / name, settings, on_step=interrupt)
    run(tmp_path / "cut", settings, resume=True)
    whole, cut = log(tmp_path / "whole"), log(tmp_path / "cut")
    assert [line["learning_rate"] for line in cut] == [line["learning_rate"] for line in whole]
    assert [line["loss"] for line in cut] == [line["loss"] for line in whole]
    assert cut[-1]["learning_rate"] == settings.learning_rate / 2


def test_a_checkpoint_of_before_the_guard_loads(recipe: Make, run: Make, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run(folder, recipe(epochs=2))
    state = torch.load(folder / "last.ckpt", weights_only=True)
    del state["guard"]
    torch.save(state, folder / "last.ckpt")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for key in ("guard_rise", "guard_returns", "clip_norm"):
        del config["recipe"][key]
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "best.ckpt").unlink()
    run(folder, recipe(epochs=3), resume=True)
    assert torch.load(folder / "best.ckpt", weights_only=True)["epoch"] == 3


def test_a_run_that_goes_on_behind_its_end_may_have_a_higher_loss(
    recipe: Make, run: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[int] = []
    forget = Guard.forget

    def noted(self: Guard) -> None:
        forgotten.append(1)
        forget(self)

    folder = tmp_path / "run"
    run(folder, recipe(epochs=4))  # down to a rate of nearly nothing
    monkeypatch.setattr(Guard, "forget", noted)
    run(folder, recipe(epochs=8), resume=True)
    more = len(forgotten)
    # Made, restored, and once more for the higher rate.
    assert more == 3
    constant = recipe(epochs=4, poly_power=0.0)
    run(tmp_path / "constant", constant)
    forgotten.clear()
    run(tmp_path / "constant", recipe(epochs=8, poly_power=0.0), resume=True)
    assert len(forgotten) == 2


def test_what_there_is_to_go_back_to_is_written_before_a_checkpoint_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    from roadseg.training import checkpoint

    disk_is_free, written = Event(), []

    def slowly(path: Path, content: dict[str, Any]) -> None:
        assert disk_is_free.wait(60)
        written.append((path.name, content["epoch"]))

    monkeypatch.setattr(checkpoint, "save_checkpoint", slowly)
    best = tmp_path / "best.ckpt"
    with CheckpointWriter(tmp_path / "last.ckpt") as writer:
        for epoch in range(1, 7):
            writer.write({"epoch": epoch}, before=best if epoch in (3, 4) else None)
        disk_is_free.set()
        writer.finish()
    assert written[-2:] == [("best.ckpt", 4), ("last.ckpt", 6)]
    assert len(written) <= 3  # the worker may have begun with an older one
