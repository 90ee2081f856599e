"""Runs averaged to one: its weights, its record, and what may not be averaged."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from roadseg.core.errors import UsageError
from roadseg.core.weights_file import best_weights
from roadseg.datasets.camvid import CamVid
from roadseg.models import load_weights
from roadseg.training.loop import train
from roadseg.training.recipes import load_recipe
from roadseg.training.spec import RunSpec
from roadseg.training.validation import confusion
from roadseg.weights import load_manifest
from tests.support.datasets import write_tiny_camvid
from tools import release
from tools.average import average, mean_state

LITE = dataclasses.replace(load_recipe("lite"), epochs=1, crop_hw=(64, 64), batch_size=2)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, two runs of segnet-lite `a` and `b`, and `basic`."""
    folder = tmp_path_factory.mktemp("runs")
    data = write_tiny_camvid(folder)
    for seed, name in enumerate("ab"):
        train(RunSpec.opening(data, recipe=LITE, output=folder / name, seed=seed))
    basic = RunSpec.opening(data, recipe=LITE, output=folder / "basic", model="segnet-basic")
    train(basic)
    return folder


def test_weights_are_averaged_and_counters_are_not() -> None:
    first = {"w": torch.tensor([1.0, 2.0]), "n": torch.tensor(3)}
    second = {"w": torch.tensor([5.0, 0.0]), "n": torch.tensor(7)}
    mean = mean_state([first, second], [3, 1])
    assert torch.equal(mean["w"], torch.tensor([2.0, 1.5]))
    assert torch.equal(mean["n"], torch.tensor(3))


def test_the_mean_is_a_run_that_says_what_it_is_the_mean_of(place: Path, tmp_path: Path) -> None:
    data = next(p.parent for p in place.rglob("train.txt"))
    output = tmp_path / "mean"
    miou = average([str(place / "a"), str(place / "b")], output, data, shares=[1, 3])
    model, meta = load_weights(best_weights(output))
    assert miou == pytest.approx(float(confusion(model, list(CamVid(data, "val"))).miou), abs=0.02)
    parts = [load_weights(best_weights(place / name))[0].state_dict() for name in "ab"]
    expected = mean_state(parts, [1, 3])
    found = model.state_dict()
    changed = expected.pop("classifier.bias") + torch.tensor(meta["class_bias"])
    torch.testing.assert_close(found.pop("classifier.bias"), changed, atol=2e-3, rtol=2e-3)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=2e-3)

    shipped = tmp_path / "weights"
    shipped.mkdir()
    release.release(output, data, int8=False, directory=shipped)
    training = load_manifest(shipped)["segnet-lite"].training
    assert training["class_bias"] == meta["class_bias"]
    assert training["command"] == ("python -m tools.average RUN RUN --data CamVid --output RUN")
    assert [part["share"] for part in training["averaged"]] == [0.25, 0.75]
    assert [part["command"][-1] for part in training["averaged"]] == ["0", "1"]
    json.dumps(training)


def test_a_run_of_which_there_are_two_states_counts_once() -> None:
    config: dict[str, Any] = {"time_budget_s": None, "model": "segnet-lite"}
    config |= {"extra_frames": 0, "seed": 0, "frames": 1, "epochs": 1, "device": "cpu"}
    config |= {"torch": "2", "minutes": 9.0, "recipe": {"name": "lite", "epochs": 1}}
    parts = [
        {"command": "train --seed 1", "init_sha256": "a", "minutes": 18.0},
        {"command": "train --seed 1", "init_sha256": "a", "minutes": 80.0},
        {"command": "train --seed 1", "init_sha256": "b", "minutes": 5.0},
        {"command": "train --seed 2", "minutes": 400.5},
    ]
    facts = release.training_facts(config | {"averaged": parts}, {"epoch": 1})
    assert facts["minutes"] == 485.5


def test_what_cannot_be_averaged_is_refused_before_anything_is_written(
    place: Path, tmp_path: Path
) -> None:
    data, output = place, tmp_path / "mean"
    a = str(place / "a")
    for sources, shares, message in (
        ([a, "segnet-lite"], [], "segnet-lite is no folder of a run"),
        ([a, a], [1.0], "1 shares for 2 sources"),
        ([a, a], [1.0, 0.0], "2 shares for 2 sources"),
        ([a, str(place / "basic")], [], "the networks differ: segnet-lite, segnet-basic"),
    ):
        with pytest.raises(UsageError, match=message):
            average(sources, output, data, shares=shares)
    assert not output.exists()


def test_a_model_that_ships_goes_by_its_name(place: Path, tmp_path: Path) -> None:
    data = next(p.parent for p in place.rglob("train.txt"))
    average(["segnet-lite", str(place / "a")], tmp_path / "mean", data, class_bias=False)
    config = json.loads((tmp_path / "mean" / "config.json").read_text(encoding="utf-8"))
    assert config["averaged"][0]["command"] == load_manifest()["segnet-lite"].training["command"]
    assert "class_bias" not in load_weights(best_weights(tmp_path / "mean"))[1]
