"""What networks cost, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from roadseg.comparison.cost import (
    TRAINING_BATCH,
    LiveBytes,
    check_size,
    measure_cost,
)
from roadseg.core.errors import BackendError, UsageError
from roadseg.models import COMPARISON_NAMES, MODEL_NAMES, build_model

CPU = torch.device("cpu")
MB = 1e6


def test_live_bytes_by_hand() -> None:
    old = torch.zeros(1000)
    live = LiveBytes()
    live.expect(iter([old]))
    with live:
        a = old + 1  # 4000 bytes
        b = a.view(10, 100)  # no more
        c = torch.cat([b, b])  # 8000
        assert live.now == 12000
        del a
        b = b + 1  # the first 4000 go once the 4000 of the sum are there
        assert live.now == 16000
        old.mul_(2)
        assert live.now == 12000
        del b, c
        old.mul_(2)
        assert live.now == 0
    assert live.peak == 16000


class Chain(nn.Module):
    """Two convolutions around a sigmoid, whose result is kept for the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 1, bias=False)
        self.last = nn.Conv2d(4, 11, 1, bias=False)
        self.register_buffer("unused", torch.zeros(100))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.last(torch.sigmoid(self.first(x)))
        return scores


def test_costs_of_a_small_network_by_hand() -> None:
    model = Chain()
    cost = measure_cost(model, (20, 30), CPU, warm_up=0, repeats=1)
    weights, plane = 4 * (3 * 4 + 4 * 11), 4 * 20 * 30
    assert cost.parameters_m == 56e-6
    # Forward: the sigmoid's input and output at once, then its output and the scores.
    assert cost.inference_mb * MB == weights + 400 + plane * (4 + 11)
    # Backward: at least what autograd keeps, and the gradients of the weights.
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage().nbytes()
        return tensor

    assert TRAINING_BATCH == 4  # as in the paper's table 6
    images, labels = torch.rand(4, 3, 20, 30), torch.zeros(4, 20, 30).long()
    own = {t.untyped_storage()._cdata for t in [images, labels, *model.parameters()]}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        loss = torch.nn.functional.cross_entropy(model(images), labels)
    saved = sum(size for key, size in kept.items() if key not in own)
    del loss
    training = cost.training_mb * MB
    assert training >= 2 * weights + saved
    # ... and no more than that with the scores and their gradients beside it.
    assert training <= 2 * weights + 400 + saved + 4 * 4 * plane * 11
    assert cost.forward_ms > 0
    assert cost.backward_ms > 0
    assert cost.memory_by == "tensors"
    assert all(p.grad is None for p in model.parameters())


def test_measuring_changes_no_weights_or_statistics() -> None:
    model = nn.Sequential(nn.Conv2d(3, 11, 3, padding=1), nn.BatchNorm2d(11))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    measure_cost(model, (16, 16), CPU, warm_up=1, repeats=1)
    assert before.keys() == model.state_dict().keys()
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, before[key], rtol=0, atol=0)
    assert not model.training


def test_model_size_is_that_of_the_file(tmp_path: Path) -> None:
    model = build_model("segnet-lite")
    torch.save(model.state_dict(), tmp_path / "w.pt")
    cost = measure_cost(model, (32, 32), CPU, warm_up=0, repeats=1)
    assert cost.model_mb * MB == pytest.approx((tmp_path / "w.pt").stat().st_size, rel=1e-3)


class Greedy(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: ...")


def test_too_little_memory() -> None:
    with pytest.raises(BackendError) as error:
        measure_cost(Greedy(), (360, 480), CPU)
    assert str(error.value) == (
        "cpu has too little memory to time a network at 360x480: use a smaller size_hw, or leave "
        "the network out of models"
    )


@pytest.mark.parametrize("name", MODEL_NAMES + COMPARISON_NAMES)
def test_every_network_can_be_measured_at_the_papers_size(name: str) -> None:
    check_size(name, (360, 480))


@pytest.mark.parametrize("side", [200, 160])
def test_size_that_is_too_small(side: int) -> None:
    with pytest.raises(UsageError) as error:
        check_size("deconvnet", (side, side))
    text = str(error.value)
    assert text.startswith(f"deconvnet cannot be measured at {side}x{side} (")
    assert text.endswith("): use a larger one, for example size_hw=(360, 480)")
    assert "\n" not in text
