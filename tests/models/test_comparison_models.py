"""The networks that SegNet is compared with, against published counts and PyTorch's layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from roadseg.core.errors import ModelError
from roadseg.export.onnx import build_onnx
from roadseg.models import COMPARISON_NAMES, MODEL_NAMES, build_model
from roadseg.models.decoder_variants import FCNBasic, bilinear_upsampling
from roadseg.models.vgg import load_vgg16

TABLE_1_MILLIONS = {
    "bilinear-interpolation": 0.625,
    "segnet-basic": 1.425,
    "segnet-basic-encoder-addition": 1.425,
    "segnet-basic-single-channel-decoder": 0.625,
    "fcn-basic": 0.65,
    "fcn-basic-no-addition": 0.65,
}
# 1.625 M in the paper; the module says where the difference comes from.
WITHOUT_REDUCTION = ("fcn-basic-no-dim-reduction", "fcn-basic-no-addition-no-dim-reduction")
LARGE = ("fcn-8s", "fcn-8s-learnt", "deeplab-largefov", "deconvnet", "unet")
SMALL = tuple(n for n in COMPARISON_NAMES if n not in LARGE)


def parameters(name: str) -> int:
    with torch.device("meta"):
        return sum(p.numel() for p in build_model(name).parameters())


@pytest.mark.parametrize(("name", "millions"), TABLE_1_MILLIONS.items())
def test_parameter_counts_agree_with_table_1(name: str, millions: float) -> None:
    # The paper gives steps of 25 thousand.
    assert parameters(name) == pytest.approx(1e6 * millions, abs=12_500)


@pytest.mark.parametrize("name", WITHOUT_REDUCTION)
def test_parameters_without_reduction_are_those_of_the_papers_text(name: str) -> None:
    encoder = 49 * 64 * (3 + 3 * 64) + 4 * 2 * 64
    decoders = 4 * (8 * 8 * 64 * 64 + 2 * 64)
    classifier = 64 * 11 + 11
    assert parameters(name) == encoder + decoders + classifier == 1_661_835
    assert parameters(name) == pytest.approx(1.625e6, rel=0.023)


def inputs_of(layers: nn.ModuleList, model: nn.Module, x: torch.Tensor) -> list[torch.Size]:
    """What each layer was given, by the shape, in the order of their calls."""
    shapes: list[torch.Size] = []
    for layer in layers:
        layer.register_forward_hook(lambda _, inputs, __: shapes.append(inputs[0].shape))
    with torch.inference_mode():
        model(x)
    return shapes


def test_fcn_basic_adds_pooled_maps() -> None:
    # "The first layer of FCN-Basic at 180x240" (section 3.1): the frame's 360x480, pooled.
    model = build_model("fcn-basic").eval()
    shapes = inputs_of(model.skip, model, torch.rand(1, 3, 36, 48))
    assert shapes == [(1, 64, 18, 24), (1, 64, 9, 12), (1, 64, 5, 6)]
    model = build_model("fcn-basic").eval()
    shapes = inputs_of(model.upsample, model, torch.rand(1, 3, 36, 48))
    assert shapes == [(1, 11, 3, 3), (1, 11, 5, 6), (1, 11, 9, 12), (1, 11, 18, 24)]


@pytest.mark.parametrize("reduction", [True, False])
def test_additions_arrive_at_the_decoder_of_their_resolution(reduction: bool) -> None:
    torch.manual_seed(0)
    model = FCNBasic(reduction=reduction).eval()
    x = torch.rand(1, 3, 45, 61)
    with torch.inference_mode():
        expected = model(x)
        y = model.normalise(x * 255.0)
        full, pooled = [], []
        for stage in model.encoder:
            full.append(stage(y))
            y = F.max_pool2d(full[-1], 2, 2, ceil_mode=True)
            pooled.append(y)
        y = model.reduce(y)
        for level in (3, 2, 1, 0):
            h, w = full[level].shape[-2:]
            y = model.upsample[3 - level](y)[..., :h, :w]
            if level > 0:
                y = y + model.skip[level - 1](pooled[level - 1])
        torch.testing.assert_close(model.classifier(y), expected)


def test_without_addition_nothing_is_kept_of_the_encoder() -> None:
    assert len(build_model("fcn-basic-no-addition").skip) == 0


@pytest.mark.parametrize(
    ("name", "millions"),
    # Published: 134 M, 20.5 M, 252 M and 31 M; batch normalisation adds thousands.
    [("fcn-8s", 134.4), ("deeplab-largefov", 20.5), ("deconvnet", 251.8), ("unet", 31.0)],
)
def test_parameter_counts_of_the_large_networks(name: str, millions: float) -> None:
    assert parameters(name) == pytest.approx(1e6 * millions, abs=5e4)


def test_every_network_has_one_name() -> None:
    assert not set(MODEL_NAMES) & set(COMPARISON_NAMES)
    assert len(COMPARISON_NAMES) == 12


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("size_hw", [(32, 48), (45, 61), (1, 1)])
def test_small_networks_give_scores_of_the_input_size(name: str, size_hw: tuple[int, int]) -> None:
    model = build_model(name).eval()
    with torch.inference_mode():
        scores = model(torch.rand(2, 3, *size_hw))
    assert scores.shape == (2, 11, *size_hw)
    assert torch.isfinite(scores).all()


@pytest.mark.parametrize("name", [n for n in LARGE if n != "deconvnet"])
@pytest.mark.parametrize("size_hw", [(360, 480), (227, 225)])
def test_large_networks_give_scores_of_the_input_size(name: str, size_hw: tuple[int, int]) -> None:
    # The meta device has shapes and no arithmetic.
    with torch.device("meta"):
        scores = build_model(name).eval()(torch.empty(1, 3, *size_hw))
    assert scores.shape == (1, 11, *size_hw)


@pytest.mark.parametrize("name", SMALL)
def test_small_networks_learn(name: str) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=2).train()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    x = torch.rand(2, 3, 32, 32)
    y = (x[:, 0] > 0.5).long()
    y = F.max_pool2d(y.float()[:, None], 16).repeat_interleave(16, 2).repeat_interleave(16, 3)
    target = y[:, 0].long()
    target[:, :16] = 0
    losses = []
    for _ in range(12):
        loss = F.cross_entropy(model(x), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("name", "size_hw"),
    [
        *((name, (45, 61)) for name in SMALL),
        ("deeplab-largefov", (45, 61)),
        ("unet", (45, 61)),
        # An ONNX file holds two gigabytes; these two are half and all of one.
        pytest.param("fcn-8s", (45, 61), marks=pytest.mark.slow),
        pytest.param("deconvnet", (225, 225), marks=pytest.mark.slow),
    ],
)
def test_exported_networks_agree(name: str, size_hw: tuple[int, int]) -> None:
    torch.manual_seed(1)
    model = build_model(name).eval()
    for parameter in model.parameters():
        if not parameter.any():  # biases, and all of FCN's scores, start at zero
            nn.init.normal_(parameter, std=0.01)
    graph = build_onnx(model, name, size_hw=size_hw, output="logits")
    session = ort.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    frame = np.random.default_rng(0).integers(0, 256, (1, *size_hw, 3), dtype=np.uint8)
    (got,) = session.run(None, {"frame_bgr": frame})
    with torch.inference_mode():
        expected = model(torch.from_numpy(frame).permute(0, 3, 1, 2).float() / 255).numpy()
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("stride", [2, 8])
def test_deconvolutions_start_as_bilinear_interpolation(stride: int) -> None:
    layer = nn.ConvTranspose2d(3, 3, 2 * stride, stride, stride // 2, bias=False)
    bilinear_upsampling(layer)
    x = torch.rand(1, 3, 6, 7)
    expected = F.interpolate(x, scale_factor=stride, mode="bilinear", align_corners=False)
    inner = slice(stride, -stride)  # at the border, interpolation repeats and this one fades
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[..., inner, inner], expected[..., inner, inner])


def test_fixed_upsampling_is_not_trained() -> None:
    with torch.device("meta"):
        fixed, learnt = build_model("fcn-8s"), build_model("fcn-8s-learnt")
    names = {n for n, p in fixed.named_parameters() if not p.requires_grad}
    assert names == {"upsample32.weight", "upsample16.weight", "upsample8.weight"}
    assert all(p.requires_grad for p in learnt.parameters())


def _vgg16(batch_norm: bool) -> dict[str, torch.Tensor]:
    """A state dict in torchvision's layout, with random values."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    index, c_in = 0, 3
    for width in (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0):
        if width == 0:
            index += 1
            continue
        state[f"features.{index}.weight"] = torch.randn(width, c_in, 3, 3, generator=generator)
        state[f"features.{index}.bias"] = torch.randn(width, generator=generator)
        index += 1
        if batch_norm:
            for key in ("weight", "bias", "running_mean", "running_var"):
                state[f"features.{index}.{key}"] = torch.rand(width, generator=generator)
            state[f"features.{index}.num_batches_tracked"] = torch.tensor(1)
            index += 1
        index, c_in = index + 1, width
    state["classifier.0.weight"] = torch.zeros(2, 3)
    return state


@pytest.mark.parametrize("batch_norm", [False, True])
def test_vgg16_weights_load_into_the_encoder(tmp_path: Path, batch_norm: bool) -> None:
    state = _vgg16(batch_norm)
    path = tmp_path / "vgg16.pth"
    torch.save(state, path)
    model = build_model("segnet")
    load_vgg16(model.encoder, path)
    convolutions = [m for m in model.encoder.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in model.encoder.modules() if isinstance(m, nn.BatchNorm2d)]
    # RGB less ImageNet's mean over its deviation, against BGR in 0..1: equal up to a constant,
    # which shows as no difference between two frames.
    a, b = torch.rand(2, 1, 3, 8, 8)
    deviation = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]
    rgb = (a - b).flip(1) / deviation
    expected = F.conv2d(rgb, state["features.0.weight"], padding=1)
    with torch.no_grad():
        got = convolutions[0](a) - convolutions[0](b)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    last = max(int(k.split(".")[1]) for k, v in state.items() if v.ndim == 4)
    assert torch.equal(convolutions[-1].weight, state[f"features.{last}.weight"])
    if batch_norm:
        assert torch.equal(norms[0].running_mean, state["features.1.running_mean"])
        assert torch.equal(norms[-1].weight, state[f"features.{last + 1}.weight"])


def test_unusable_vgg16_weights(tmp_path: Path) -> None:
    encoder = build_model("segnet").encoder
    with pytest.raises(ModelError) as caught:
        load_vgg16(encoder, tmp_path / "none.pth")
    assert str(caught.value) == (
        f"no weights at {tmp_path / 'none.pth'}: give torchvision's vgg16 or vgg16_bn weights"
    )
    (tmp_path / "text.pth").write_text("text")
    with pytest.raises(ModelError) as caught:
        load_vgg16(encoder, tmp_path / "text.pth")
    assert str(caught.value) == (
        f"{tmp_path / 'text.pth'} is not a file of weights: "
        "give torchvision's vgg16 or vgg16_bn weights"
    )
    torch.save([1], tmp_path / "list.pth")
    with pytest.raises(ModelError, match=r"list\.pth is not a state dict: give torchvision's"):
        load_vgg16(encoder, tmp_path / "list.pth")
    state = _vgg16(False)
    del state["features.28.weight"]
    torch.save(state, tmp_path / "short.pth")
    with pytest.raises(ModelError) as caught:
        load_vgg16(encoder, tmp_path / "short.pth")
    assert str(caught.value) == (
        f"{tmp_path / 'short.pth'} holds 12 convolutions that are not VGG16's 13: "
        "give torchvision's vgg16 or vgg16_bn weights"
    )
