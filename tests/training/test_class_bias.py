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
