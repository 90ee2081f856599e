"""Class biases that are set when a run is over."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from roadseg.core.errors import ModelError
from roadseg.models import MODEL_NAMES, build_model, load_weights
from roadseg.models.abilities import classifier_bias
from roadseg.training import validation
from roadseg.training.class_bias import fit_class_bias
from roadseg.training.recipes import Recipe

FRAMES = [
    (
        np.random.default_rng(n).integers(0, 256, (64, 96, 3), np.uint8),
        np.random.default_rng(n + 9).integers(0, 13, (64, 96), np.uint8),
    )
    for n in range(2)
]


@pytest.mark.parametrize("name", MODEL_NAMES)
def test_scores_move_by_the_bias_and_by_nothing_else(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, 11).eval()
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():  # at first its scores are all but equal
        first = model(image)
        model.classifier.weight /= first.std()
    with torch.inference_mode():
        before = model(image)
        bias = fit_class_bias(model, FRAMES)
        after = model(image)
    assert np.abs(bias).max() > 0.05
    torch.testing.assert_close(
        after, before + torch.from_numpy(bias)[None, :, None, None], atol=1e-4, rtol=1e-4
    )


def test_a_network_that_ends_otherwise_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 11, 1))
    assert classifier_bias(model) is None
    with pytest.raises(ModelError, match="no bias in its last layer") as caught:
        fit_class_bias(model, FRAMES)
    assert caught.value.fix == "leave class_bias out of the recipe"


def test_a_run_keeps_biases_that_validation_agrees_to(
    run: Callable[..., Any], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    plain = run(tmp_path / "plain", recipe(epochs=2))
    balanced = run(tmp_path / "balanced", recipe(epochs=2, class_bias=True))
    assert not balanced.best_miou < plain.best_miou
    before, _ = load_weights(plain.weights)
    after, meta = load_weights(balanced.weights)
    moved = [
        key
        for key, value in before.state_dict().items()
        if not value.equal(after.state_dict()[key])
    ]
    assert moved in (["classifier.bias"], [])
    assert ("class_bias" in meta) == (moved != [])


def test_a_run_that_keeps_its_last_weights_asks_nothing_of_validation(
    run: Callable[..., Any], recipe: Callable[..., Recipe], tmp_path: Path
) -> None:
    result = run(tmp_path / "run", recipe(epochs=1, class_bias=True), keep_last=True)
    _, meta = load_weights(result.weights)
    assert len(meta["class_bias"]) == 11
    assert math.isclose(meta["validation_miou"], result.best_miou)
    again = run(tmp_path / "run", recipe(epochs=1, class_bias=True), keep_last=True, resume=True)
    assert again.best_miou == result.best_miou
    assert load_weights(again.weights)[1] == meta


class Scores:
    """What validation says of weights, one after the other, in place of looking."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.next: list[float] = []
        monkeypatch.setattr(validation, "confusion", lambda *_: self)
        monkeypatch.setattr(validation, "fit_class_bias", lambda *_, **__: np.zeros(11, np.float32))
        self.global_accuracy = self.class_accuracy = 0.5
        self.per_class_iou = np.full(11, 0.5)

    @property
    def miou(self) -> float:
        return self.next.pop(0)


def kept(folder: Path) -> tuple[float, bool]:
    meta = load_weights(folder / "best.safetensors")[1]
    return meta["validation_miou"], "class_bias" in meta


@pytest.mark.parametrize(
    ("biased", "expected"), [(0.77, (0.77, True)), (0.75, (0.76, True)), (0.76, (0.76, True))]
)
def test_going_on_replaces_balanced_weights_by_better_balanced_ones_alone(
    run: Callable[..., Any],
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    biased: float,
    expected: tuple[float, bool],
) -> None:
    folder, scores = tmp_path / "run", Scores(monkeypatch)
    scores.next = [0.73, 0.74, 0.76]
    run(folder, recipe(epochs=2, class_bias=True))
    assert kept(folder) == (0.76, True)
    scores.next = [0.742, 0.741]
    with pytest.raises(IndexError):  # cut off before its end
        run(folder, recipe(epochs=5, class_bias=True), resume=True)
    assert kept(folder) == (0.76, True), "until there are better ones"
    scores.next = [0.739, biased]
    result = run(folder, recipe(epochs=5, class_bias=True), resume=True)
    assert kept(folder) == expected
    assert result.best_miou == expected[0]
    assert {each.name for each in folder.glob("*.safetensors")} == {"best.safetensors"}


def test_going_on_beyond_what_biases_had_brought(
    run: Callable[..., Any],
    recipe: Callable[..., Recipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, scores = tmp_path / "run", Scores(monkeypatch)
    scores.next = [0.74, 0.76]
    run(folder, recipe(epochs=1, class_bias=True))
    scores.next = [0.75, 0.78, 0.77]
    result = run(folder, recipe(epochs=3, class_bias=True), resume=True)
    assert kept(folder) == (0.78, False), "biases would cost a point"
    assert (result.best_miou, result.best_epoch) == (0.78, 3)
