"""The peer that ours are timed beside is the network of its paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.peers.compare import CLIP, frames_of, milliseconds, ours
from benchmarks.peers.pidnet import PIDNetS


def _products(network: nn.Module, height: int, width: int) -> int:
    """Multiplications of all convolutions for a frame."""
    count = 0

    def add(layer: nn.Conv2d, _inputs: object, output: Tensor) -> None:
        nonlocal count
        count += layer.weight[0].numel() * output.numel()

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    with torch.no_grad():
        network(torch.zeros(1, 3, height, width))
    return count


def test_pidnet_s_has_the_size_that_its_paper_states():
    network = PIDNetS(19).eval()
    parameters = sum(each.numel() for each in network.parameters())
    assert round(parameters / 1e6, 1) == 7.6
    # 47.6 G at 1024x2048; a quarter of the picture has a quarter of it.
    assert abs(4 * _products(network, 512, 1024) / 47.6e9 - 1) < 0.02


def test_its_scores_are_an_eighth_of_the_input_also_where_that_does_not_divide():
    network = PIDNetS(11).eval()
    with torch.no_grad():
        assert network(torch.zeros(1, 3, 100, 148)).shape == (1, 11, 13, 19)


def test_networks_are_timed_in_turns():
    frames = frames_of(CLIP, (64, 96), count=2)
    assert [frame.shape for frame in frames] == [(1, 64, 96, 3)] * 2
    models = {name: ours("segnet-lite", frames) for name in ("a", "b")}
    taken = milliseconds(models, frames, threads=1, rounds=3)
    assert {name: len(times) for name, times in taken.items()} == {"a": 3, "b": 3}
    assert all(clock > 0 and cpu > 0 for times in taken.values() for clock, cpu in times)
