"""What a step does to the weights beyond the gradient: clipping, and scores that stay centred."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from roadseg.models import build_model
from roadseg.training.learner import Learner, build_optimizer, centre_scores, clip_gradients
from roadseg.training.objective import Objective
from roadseg.training.recipes import Recipe

Make = Callable[..., Any]


def network() -> nn.Module:
    """Gradients of 3 and 4: a norm of 5 together."""
    model = nn.Linear(1, 1)
    model.weight.grad, model.bias.grad = torch.full((1, 1), 3.0), torch.full((1,), -4.0)
    return model


@pytest.mark.parametrize(("limit", "scale"), [(0.0, 1.0), (1.0, 0.2), (5.1, 1.0), (2.5, 0.5)])
def test_gradients_are_clipped_together(limit: float, scale: float) -> None:
    model = network()
    assert float(clip_gradients(model, limit)) == pytest.approx(5.0)
    assert float(model.weight.grad) == pytest.approx(3.0 * scale, rel=1e-5)
    assert float(model.bias.grad) == pytest.approx(-4.0 * scale, rel=1e-5)


def test_without_a_limit_an_infinite_gradient_spoils_no_other() -> None:
    model = network()
    model.bias.grad = torch.full((1,), math.inf)
    assert float(clip_gradients(model, 0.0)) == math.inf
    assert float(model.weight.grad) == 3.0


def test_what_has_no_gradient_is_left_out() -> None:
    model = network()
    model.bias.grad = None
    assert float(clip_gradients(model, 1.0)) == pytest.approx(3.0)


def test_the_norm_in_the_log_is_that_before_clipping(
    recipe: Make, run: Make, tmp_path: Path
) -> None:
    """The first step of both runs is from the same weights, on the same crops."""
    norms, moved = [], []
    for limit in (0.0, 1e-3):
        folder = tmp_path / str(limit)
        settings = recipe(
            epochs=1, batch_size=6, clip_norm=limit, optimizer="sgd", weight_decay=0.0
        )
        run(folder, settings)
        norms.append(
            json.loads((folder / "log.jsonl").read_text(encoding="utf-8"))["gradient_norm"]
        )
        state = torch.load(folder / "last.ckpt", weights_only=True)
        steps = [v["momentum_buffer"] for v in state["optimizer"]["state"].values()]
        moved.append(float(torch.stack(torch._foreach_norm(steps)).norm()))
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    assert moved[0] == pytest.approx(norms[0], rel=0.2)  # weights of one dimension, too
    assert moved[1] == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("name", ["segnet-lite", "segnet-basic", "unet"])
def test_centring_changes_neither_labels_nor_losses(name: str, recipe: Make) -> None:
    torch.manual_seed(0)
    before = build_model(name).eval()
    with torch.no_grad():
        before.classifier.bias += torch.linspace(-3, 5, 11)
    after = copy.deepcopy(before)
    centre_scores(after, 11)
    images, labels = torch.rand(2, 3, 64, 64), torch.randint(0, 12, (2, 64, 64))
    with torch.no_grad():
        old, new = before(images), after(images)
    difference = old - new
    assert float(difference.abs().max()) > 0.1
    # The same for all classes, and nothing in common is left.
    torch.testing.assert_close(
        difference, difference.mean(1, keepdim=True).expand_as(difference), atol=1e-4, rtol=1e-4
    )
    torch.testing.assert_close(new.mean(1), torch.zeros_like(new.mean(1)), atol=1e-4, rtol=0)
    objective = Objective(
        torch.ones(11).numpy(), recipe(label_smoothing=0.1), torch.device("cpu"), build_model(name)
    )
    objective._half_precision = False
    torch.testing.assert_close(
        objective(before, images, labels), objective(after, images, labels), atol=1e-4, rtol=1e-4
    )


def test_scores_stay_centred_in_training(recipe: Make, run: Make, tmp_path: Path) -> None:
    run(tmp_path / "run", recipe(epochs=3))
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    for weights in (state["model"], state["average"][2]):
        assert float(weights["classifier.weight"].mean(1).abs().max()) < 1e-2
        assert float(weights["classifier.bias"].mean().abs()) < 1e-2
    assert float(state["model"]["classifier.weight"].mean(1).abs().max()) < 1e-6


def test_networks_whose_scores_several_layers_make_are_left_alone() -> None:
    with torch.device("meta"):
        model = build_model("fcn-8s")
    centre_scores(model, 11)
    assert not hasattr(model, "classifier")


def test_the_optimiser_decays_convolutions_alone(recipe: Make) -> None:
    groups = build_optimizer(build_model("segnet-lite"), recipe(weight_decay=0.5)).param_groups
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0]
    assert all(p.ndim > 1 for p in groups[0]["params"])
    assert all(p.ndim == 1 for p in groups[1]["params"])


def learner_of(model: nn.Module, recipe: Recipe) -> Learner:
    cpu = torch.device("cpu")
    objective = Objective(np.ones(11, np.float32), recipe, cpu)
    objective._half_precision = False
    return Learner(model, objective, recipe, 11, cpu)


class TestEncoderRate:
    def test_an_encoder_takes_its_share_of_every_rate(self, recipe: Make) -> None:
        settings = recipe(encoder_rate=0.25)
        learner = learner_of(build_model("segnet-edge"), settings)
        learner.set_rate(1e-2)
        assert learner.rate == 1e-2
        rates = {
            id(p): group["lr"] for group in learner.optimizer.param_groups for p in group["params"]
        }
        encoder = {id(p) for p in learner.model.encoder.parameters()}
        assert {rates.pop(key) for key in encoder} == {2.5e-3}
        assert set(rates.values()) == {1e-2}
        others = [p for p in learner.model.parameters() if id(p) not in encoder]
        assert set(rates) == {id(p) for p in others}

    @pytest.mark.parametrize(("name", "share"), [("segnet-edge", 1.0), ("segnet-lite", 0.25)])
    def test_others_have_one_rate(self, recipe: Make, name: str, share: float) -> None:
        learner = learner_of(build_model(name), recipe(encoder_rate=share))
        learner.set_rate(1e-2)
        assert [group["lr"] for group in learner.optimizer.param_groups] == [1e-2, 1e-2]

    def test_a_step_moves_an_encoder_less(self, recipe: Make) -> None:
        """A first step of AdamW is as large as the rate, whatever the gradient."""
        moved = {}
        for share in (1.0, 0.01):
            torch.manual_seed(0)
            model = build_model("segnet-edge")
            before = copy.deepcopy(model.state_dict())
            learner = learner_of(model, recipe(encoder_rate=share, weight_decay=0.0))
            learner.begin_epoch(0)
            learner.set_rate(1e-3)
            learner.step(torch.rand(2, 3, 64, 64), torch.zeros(2, 64, 64).long(), evenly=False)
            after = learner.model.state_dict()
            for key in ("encoder.stem.0.weight", "decoder2.0.weight"):
                moved[key, share] = float((after[key] - before[key]).abs().max())
        assert moved["decoder2.0.weight", 0.01] == pytest.approx(
            moved["decoder2.0.weight", 1.0], rel=0.05
        )
        assert moved["encoder.stem.0.weight", 1.0] == pytest.approx(1e-3, rel=0.05)
        assert moved["encoder.stem.0.weight", 0.01] == pytest.approx(1e-5, rel=0.05)
