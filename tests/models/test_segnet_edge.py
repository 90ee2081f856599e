"""segnet-edge: what it costs, where its decoder puts things, and how it starts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from roadseg.models import build_model
from roadseg.models.segnet_edge import SegNetEdge


@pytest.fixture
def network() -> SegNetEdge:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return SegNetEdge().eval()


def test_its_size_and_cost_are_as_its_docstring_says() -> None:
    with torch.device("meta"):
        network = SegNetEdge().eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.rand(1, 3, 352, 480))
    millions = sum(p.numel() for p in network.parameters()) / 1e6
    assert f"{millions:.1f} M parameters" in str(SegNetEdge.__doc__)
    assert f"{counter.get_total_flops() / 1e9:.1f} GFLOP" in str(SegNetEdge.__doc__)


def test_the_decoder_repeats_its_map_and_unpools_it_to_the_maxima(network: SegNetEdge) -> None:
    encoded = torch.zeros(1, 2, 4, 4)
    encoded[0, 0, 1, 0] = encoded[0, 1, 2, 3] = 5.0
    deeper = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [7.0, 8.0]]]])
    # Where nothing is the maximum, the first place of the window counts as one.
    expected = torch.tensor(
        [
            [
                [[1, 1, 4, 2], [2 + 5, 1, 2, 2], [6, 3, 8, 4], [3, 3, 4, 4]],
                [[10, 5, 12, 6], [5, 5, 6, 6], [14, 7, 8, 16 + 5], [7, 7, 8, 8]],
            ]
        ]
    )
    assert torch.equal(network._joined(deeper, encoded), expected.float())
    # An odd side: the last window has one row.
    odd = network._joined(deeper, encoded[..., :3, :])
    assert torch.equal(odd[..., :2, :], expected[..., :2, :].float())
    assert odd.shape == (1, 2, 3, 4)


def test_auxiliary_scores_are_an_eighth_and_leave_the_scores_alone(network: SegNetEdge) -> None:
    x = torch.rand(1, 3, 65, 96, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        scores, auxiliary = network.forward_with_auxiliary(x)
        assert torch.equal(scores, network(x))
    assert scores.shape == (1, 11, 65, 96)
    assert auxiliary.shape == (1, 11, 9, 12)


def test_its_first_scores_are_small() -> None:
    """Scores in the hundreds would be the first thing to unlearn."""
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        network = build_model("segnet-edge").train()
        scores, auxiliary = network.forward_with_auxiliary(torch.rand(2, 3, 64, 96))
    assert float(scores.abs().max()) < 3
    assert float(auxiliary.abs().max()) < 3


def test_the_decoders_map_counts_as_much_as_the_encoders_at_first(network: SegNetEdge) -> None:
    for lateral in (network.lateral16, network.lateral8, network.lateral4, network.lateral2):
        assert torch.equal(lateral[1].weight, torch.full_like(lateral[1].weight, 0.5))
    assert torch.equal(network.decoder2[1].weight, torch.ones(32))
