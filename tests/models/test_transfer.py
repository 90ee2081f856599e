"""Weights of other classes: what is kept, and how the last layers begin."""

from __future__ import annotations

import pytest
import torch

from roadseg.models import build_model
from roadseg.models.transfer import class_parameters, keep_all_but_classes


@pytest.mark.parametrize("name", ["segnet-lite", "segnet-nano"])
def test_a_new_last_layer_draws_no_chequerboard(name: str) -> None:
    source = build_model(name, 11).eval()
    ratios = []
    for _ in range(20):  # one draw of a layer of 48 weights is a tenth off by chance
        network = build_model(name, 3).eval()
        before = network.classifier.weight.std().item()
        keep_all_but_classes(network, name, source.state_dict())
        ratios.append(network.classifier.weight.std().item() / before)
    assert sum(ratios) / len(ratios) == pytest.approx(1, abs=0.08)
    image = torch.rand(1, 3, 64, 96) * 255
    with torch.inference_mode():
        scores = network(image)
    # Every pixel of the layer's input became 2x2 equal ones.
    assert torch.equal(scores[..., ::2, ::2], scores[..., 1::2, 1::2])
    assert torch.equal(scores[..., ::2, ::2], scores[..., ::2, 1::2])
    assert scores[..., ::2, ::2].std() > 0


def test_all_else_is_kept() -> None:
    source, network = build_model("segnet-lite", 11), build_model("segnet-lite", 3)
    kept, anew = keep_all_but_classes(network, "segnet-lite", source.state_dict())
    assert (kept, anew) == (51, ["classifier", "auxiliary"])
    state = network.state_dict()
    last = class_parameters("segnet-lite")
    assert all(
        torch.equal(state[key], value)
        for key, value in source.state_dict().items()
        if key not in last
    )
