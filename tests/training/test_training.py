"""Training: it learns, from what it is given, in the time it is given."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import torch

from roadseg.core.errors import SinkError, UsageError
from roadseg.models import build_model, load_weights, save_weights
from roadseg.training import checkpoint
from roadseg.training.checkpoint import AveragedWeights, CheckpointWriter
from roadseg.training.learner import centre_scores
from roadseg.training.progress import TrainingProgress
from roadseg.training.recipes import load_recipe
from roadseg.weights.manifest import sha256_of

pytestmark = pytest.mark.usefixtures("as_typed")

Make = Callable[..., Any]


def test_it_learns_two_classes(recipe: Make, run: Make, tmp_path: Path) -> None:
    result = run(tmp_path / "run", recipe(epochs=20))
    assert result.epochs == 20
    _, meta = load_weights(result.weights)
    assert meta["validation_miou"] == result.best_miou
    lines = [
        json.loads(x)
        for x in (tmp_path / "run" / "log.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [x["epoch"] for x in lines] == list(range(1, 21))
    assert lines[-1]["loss"] < lines[0]["loss"] / 2
    assert lines[-1]["global_accuracy"] > 0.9  # the larger of the two classes alone gives 0.7
    assert max(x["miou"] for x in lines) == result.best_miou


def test_a_run_starts_from_given_weights(recipe: Make, run: Make, tmp_path: Path) -> None:
    first = run(tmp_path / "first", recipe(epochs=2))
    frozen = recipe(epochs=1, learning_rate=1e-12, weight_decay=0.0)
    second = run(tmp_path / "second", frozen, init=first.weights)
    models = [load_weights(r.weights)[0] for r in (first, second)]
    for model in models:
        # Every step takes out what the scores have in common; the average keeps some of it.
        centre_scores(model, model.classifier.out_channels)
    before, after = (model.state_dict() for model in models)
    for key, value in before.items():
        if "running" not in key and value.is_floating_point():
            # Weights are kept in FP16, whose steps are so large beside what centring takes out.
            torch.testing.assert_close(after[key], value, atol=1e-4, rtol=1e-3)
    config = json.loads((tmp_path / "second" / "config.json").read_text(encoding="utf-8"))
    assert config["init_sha256"] == sha256_of(first.weights)
    # What a run started from is not given again to resume it, and is not forgotten.
    run(tmp_path / "second", dataclasses.replace(frozen, epochs=2), resume=True)
    assert json.loads(
        (tmp_path / "second" / "config.json").read_text(encoding="utf-8")
    ) == config | {"recipe": config["recipe"] | {"epochs": 2}}


def test_a_run_does_not_start_from_another_network(recipe: Make, run: Make, tmp_path: Path) -> None:
    save_weights(tmp_path / "basic.safetensors", build_model("segnet-basic"), "segnet-basic")
    with pytest.raises(UsageError) as caught:
        run(tmp_path / "run", recipe(epochs=1), init=tmp_path / "basic.safetensors")
    assert str(caught.value) == (
        f"{tmp_path / 'basic.safetensors'} holds segnet-basic: use --model segnet-basic, "
        "or other weights"
    )


def test_a_folder_that_cannot_be_made(recipe: Make, run: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SinkError, match="cannot create .*: choose another --output"):
        run(tmp_path / "file" / "run", recipe(epochs=1))


@pytest.mark.usefixtures("clock")
def test_the_time_budget_ends_the_schedule(recipe: Make, run: Make, tmp_path: Path) -> None:
    seen: list[TrainingProgress] = []
    run(tmp_path / "run", recipe(epochs=1000), time_budget_s=5.0, on_step=seen.append)
    assert len(seen) == 5
    assert seen[-1].fraction == 1.0
    rates = [p.learning_rate for p in seen]
    assert rates == sorted(rates, reverse=True)


def test_of_checkpoints_that_wait_for_the_disk_the_newest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk_is_free, kept = Event(), []

    def slowly(path: Path, content: dict[str, Any]) -> None:
        assert disk_is_free.wait(60)
        kept.append(content["epoch"])

    monkeypatch.setattr(checkpoint, "save_checkpoint", slowly)
    with CheckpointWriter(tmp_path / "last.ckpt") as writer:
        for epoch in (1, 2, 3):
            writer.write({"epoch": epoch})
        disk_is_free.set()
        writer.finish()
        assert kept[-1] == 3
        assert len(kept) <= 2  # one that the worker had begun with, and the newest
        writer.write({"epoch": 4})
    assert kept[-1] == 4


def test_checkpoints_are_copies(tmp_path: Path) -> None:
    weight, path = torch.zeros(3), tmp_path / "last.ckpt"
    with CheckpointWriter(path) as writer:
        writer.write({"state": [{"weight": weight}], "epoch": 1})
        weight.fill_(7.0)
    written = torch.load(path, weights_only=True)
    assert written["epoch"] == 1
    assert written["state"][0]["weight"].tolist() == [0, 0, 0]


def test_segnet_alone_takes_the_dropout_of_a_recipe() -> None:
    for name, layers in (("segnet", 6), ("segnet-basic", 0)):
        network = build_model(name, 11, dropout=0.25)
        found = [m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)]
        assert found == [0.25] * layers
    assert load_recipe("paper-large").dropout == 0.5


def test_a_run_that_goes_on_averages_evenly_once_more() -> None:
    model = build_model("segnet-lite")
    average = AveragedWeights(model, decay=0.0)
    bias = model.classifier.bias
    for value, evenly in ((1.0, True), (5.0, True), (3.0, False), (2.0, True), (6.0, True)):
        with torch.no_grad():
            bias.fill_(value)
        average.update(model, evenly=evenly)
    torch.testing.assert_close(average.state["classifier.bias"], torch.full((11,), 4.0))


def test_even_averages_weigh_all_states_alike() -> None:
    model = build_model("segnet-lite")
    average = AveragedWeights(model, decay=0.5)
    bias = model.classifier.bias
    for value in (1.0, 2.0, 6.0):
        with torch.no_grad():
            bias.fill_(value)
        average.update(model, evenly=True)
    torch.testing.assert_close(average.state["classifier.bias"], torch.full((11,), 3.0))


def test_averaged_weights_follow_the_formula() -> None:
    model = build_model("segnet-lite")
    average = AveragedWeights(model, decay=0.5)
    before = average.state["classifier.weight"].clone()
    with torch.no_grad():
        model.classifier.weight.add_(1.0)
    average.update(model)
    # First update: keep = min(0.5, 2 / 11).
    expected = before + (1 - 2 / 11)
    torch.testing.assert_close(average.state["classifier.weight"], expected)
