"""The fastest way for each convolution."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from roadseg.backends.torch_cuda.graph import (
    tune,
)
from roadseg.backends.torch_cuda.layers import Convolution
from roadseg.backends.torch_cuda.ops import TorchOperations
from roadseg.backends.torch_cuda.rewrite import rewrite
from tests.support.torch_cuda import frames


def timer_of(times_ms: dict[str, float]) -> Callable[[Callable[[], Tensor]], float]:
    """A timer that takes the measured functions for `separate`, `gemm`..., in this order."""
    left = list(times_ms.values())

    def timer(run: Callable[[], Tensor]) -> float:
        run()
        return left.pop(0)

    return timer


@pytest.mark.parametrize(("times", "fastest"), [((2.0, 1.0), "gemm"), ((1.0, 2.0), "separate")])
def test_the_fastest_way_wins(times: tuple[float, float], fastest: str) -> None:
    layer = Convolution(nn.Conv2d(8, 16, 1), "relu")
    x = torch.randn(2, 8, 5, 6).contiguous(memory_format=torch.channels_last)
    layer.timer = timer_of(dict(zip(("separate", "gemm"), times, strict=True)))
    before = layer(x)
    assert layer.way == fastest
    assert layer.times_ms == dict(zip(("separate", "gemm"), times, strict=True))
    layer.timer = None
    torch.testing.assert_close(layer(x), before)


@pytest.mark.parametrize("activation", ["none", "relu", "add_relu"])
@pytest.mark.parametrize("bias", [True, False])
def test_all_ways_give_the_same(activation: str, bias: bool) -> None:
    source = nn.Conv2d(8, 16, 1, bias=bias)
    layer = Convolution(source, activation)  # type: ignore[arg-type]
    x = torch.randn(2, 8, 5, 6)
    z = torch.randn(2, 16, 5, 6) if activation == "add_relu" else None
    want = source(x) if z is None else source(x) + z
    want = want if activation == "none" else want.relu()
    for way in ("separate", "gemm"):
        layer.way = way
        torch.testing.assert_close(layer(x, z), want)


def test_a_way_that_gives_something_else_is_refused() -> None:
    layer = Convolution(nn.Conv2d(8, 16, 1), "relu")

    def wrong(x: Tensor, z: Tensor | None) -> Tensor:
        return layer._separate(x, z) * float("nan")

    def failing(x: Tensor, z: Tensor | None) -> Tensor:
        raise RuntimeError("no kernel for this")

    for way in (wrong, failing):
        layer._gemm = way  # type: ignore[method-assign]
        layer.timer = timer_of({"separate": 5.0})
        layer(torch.randn(1, 8, 4, 4))
        assert layer.times_ms == {"separate": 5.0}
        assert layer.way == "separate"


def test_only_products_with_one_matrix_are_pointwise() -> None:
    assert Convolution(nn.Conv2d(8, 8, 1), "none").pointwise
    for other in (
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 1, stride=2),
        nn.Conv2d(8, 8, 1, padding=1),
        nn.Conv2d(8, 8, 1, groups=2),
    ):
        assert not Convolution(other, "none").pointwise


def test_tuning_a_network(lite: nn.Module) -> None:
    network = rewrite(lite, (32, 48), TorchOperations())
    calls = []

    def timer(run: Callable[[], Tensor]) -> float:
        calls.append(run().shape)
        return float(len(calls))

    ways = tune(network, torch.from_numpy(frames(1, (32, 48))), timer)
    layers = [each for each in network.modules() if isinstance(each, Convolution)]
    assert len(ways) == len(layers)
    assert len(calls) == sum(len(layer.times_ms) for layer in layers) > len(layers)
    # Later is slower here, so the first way won everywhere.
    assert set(ways.values()) == {"separate"}
    assert all(layer.timer is None for layer in layers)
