"""Networks rewritten for the fast PyTorch path are the same functions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from roadseg.backends.torch_cuda.layers import Convolution
from roadseg.backends.torch_cuda.ops import TorchOperations
from roadseg.backends.torch_cuda.rewrite import rewrite
from roadseg.models import build_model, decoder_variants
from tests.support.torch_cuda import SIZE_HW, KeepingScores, frames, scores_of, with_statistics


def assert_scores(got: Tensor, want: Tensor) -> None:
    """Equal but for FP32 sums in another order.

    That is some units in the seventh digit of the largest score; but where two values of a pooling
    window all but tie, another one may win, which moves what is unpooled from there.
    """
    assert got.shape == want.shape
    close = (got - want).abs() <= 3e-5 * want.abs().max()
    assert close.float().mean() >= 0.98


@pytest.mark.parametrize("size_hw", [(45, 60), (32, 64)])
def test_a_rewritten_network_is_the_same_function(
    model: nn.Module, size_hw: tuple[int, int]
) -> None:
    operations = KeepingScores()
    network = rewrite(model, size_hw, operations)
    batch = frames(2, size_hw)
    want = scores_of(model, batch)
    with torch.inference_mode():
        labels = network(torch.from_numpy(batch))
    assert labels.dtype == torch.uint8
    assert labels.shape == (2, *size_hw)
    assert_scores(operations.scores, want)
    assert (labels == want.argmax(1)).float().mean() >= 0.99


def test_at_the_papers_size(lite: nn.Module) -> None:
    operations = KeepingScores()
    batch = frames(1, (360, 480))
    want = scores_of(lite, batch)
    with torch.inference_mode():
        rewrite(lite, (360, 480), operations)(torch.from_numpy(batch))
    assert_scores(operations.scores, want)


@pytest.mark.parametrize(
    "kind",
    [
        decoder_variants.BilinearInterpolation,
        decoder_variants.FCNBasic,
        decoder_variants.SegNetBasicEncoderAddition,
        decoder_variants.SegNetBasicSingleChannelDecoder,
    ],
)
def test_networks_that_it_was_not_written_for(kind: type[nn.Module]) -> None:
    torch.manual_seed(4)
    model = with_statistics(kind())
    operations = KeepingScores()
    batch = frames(1)
    with torch.inference_mode():
        rewrite(model, SIZE_HW, operations)(torch.from_numpy(batch))
    assert_scores(operations.scores, scores_of(model, batch))


def kinds(network: nn.Module) -> dict[str, int]:
    counts: dict[str, int] = {}
    for layer in network.modules():
        if isinstance(layer, Convolution):
            counts[layer.activation] = counts.get(layer.activation, 0) + 1
    return counts


def test_what_is_left_to_run() -> None:
    operations = TorchOperations()
    segnet = rewrite(build_model("segnet"), (64, 96), operations)
    assert kinds(segnet) == {"relu": 25, "none": 1}
    basic = rewrite(build_model("segnet-basic"), (64, 96), operations)
    # The classifier has gone into the last decoder.
    assert kinds(basic) == {"relu": 4, "none": 4}
    lite = rewrite(build_model("segnet-lite"), (64, 96), operations)
    # Three shortcuts that change the channel count, and the head.
    assert kinds(lite) == {"relu": 16, "add_relu": 7, "none": 4}
    for network in (segnet, basic, lite):
        functions = {str(node.target) for node in network.graph.nodes if "call_f" in node.op}
        assert not any("relu" in name or "getattr" in name for name in functions)
        assert not any(isinstance(each, (nn.BatchNorm2d, nn.ReLU)) for each in network.modules())


def test_tensor_cores_get_channels_in_multiples_of_eight(model: nn.Module) -> None:
    for layer in rewrite(model, (64, 96), TorchOperations()).modules():
        if isinstance(layer, Convolution):
            assert layer.weight.shape[0] % 8 == layer.weight.shape[1] % 8 == 0


def test_the_original_is_not_changed(lite: nn.Module) -> None:
    before = {name: value.clone() for name, value in lite.state_dict().items()}
    rewrite(lite, (32, 64), TorchOperations())
    after = lite.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


class OddBeginning(nn.Module):
    """What the rewriting does not know: the frame goes to two layers, a shape is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 8, 3, padding=1)
        self.right = nn.Conv2d(3, 8, 1)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Conv2d(16, 16, 1, groups=2)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.dropout(self.left(x)), self.right(x).relu()], dim=1)
        return self.head(both)[:, :11, : x.shape[2], : x.shape[3]]


def test_unknown_beginnings_and_heads_stay_as_they_are() -> None:
    torch.manual_seed(0)
    model = OddBeginning().eval()
    operations = KeepingScores()
    batch = frames(3)
    with torch.inference_mode():
        labels = rewrite(model, SIZE_HW, operations)(torch.from_numpy(batch))
    want = scores_of(model, batch)
    torch.testing.assert_close(operations.scores, want, rtol=1e-4, atol=1e-5)
    assert (labels == want.argmax(1)).float().mean() >= 0.999
