"""The networks against the paper's description and PyTorch's own layers."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save
from torch import nn

from roadseg.core.errors import ModelError, UsageError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.weights_file import read_header
from roadseg.models import (
    COMPARISON_NAMES,
    MODEL_NAMES,
    build_model,
    load_weights,
    save_weights,
    weights_bytes,
    weights_classes,
)
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices
from roadseg.weights import WEIGHTS_DIR, load_manifest
from roadseg.weights.calibration import find_calibration, shipped_calibration
from roadseg.weights.manifest import sha256_of

CONV_TYPES = (nn.Conv2d, nn.ConvTranspose2d)


def convolutions(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, CONV_TYPES)]


def test_segnet_has_the_layers_of_the_paper() -> None:
    model = build_model("segnet")
    channels = [(m.in_channels, m.out_channels) for m in convolutions(model)]
    encoder = [(3, 64), (64, 64), (64, 128), (128, 128), (128, 256), (256, 256), (256, 256)]
    encoder += [(256, 512)] + [(512, 512)] * 5
    decoder = [(512, 512)] * 5 + [(512, 256), (256, 256), (256, 256), (256, 128), (128, 128)]
    decoder += [(128, 64), (64, 64), (64, 11)]
    assert channels == encoder + decoder
    assert all(m.kernel_size == (3, 3) and m.padding == (1, 1) for m in convolutions(model))
    assert len([m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]) == 25
    # 29.4 M, as published.
    assert sum(p.numel() for p in model.parameters()) == 29_441_419


def test_segnet_dropout_sits_in_the_deep_groups_only() -> None:
    model = build_model("segnet")
    assert not [m for m in model.modules() if isinstance(m, nn.Dropout)]
    from roadseg.models import SegNet

    deep = SegNet(dropout=0.5)
    assert [isinstance(g[-1], nn.Dropout) for g in deep.encoder] == [False, False, True, True, True]
    assert [isinstance(g[-1], nn.Dropout) for g in deep.decoder] == [True, True, True, False, False]


def test_segnet_basic_has_the_layers_of_the_paper() -> None:
    model = build_model("segnet-basic")
    layers = convolutions(model)
    assert [m.kernel_size for m in layers] == [(7, 7)] * 8 + [(1, 1)]
    assert {m.out_channels for m in layers[:-1]} == {64}
    relus = [m for m in model.modules() if isinstance(m, nn.ReLU)]
    assert len(relus) == 4  # in the encoder only
    assert len([m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]) == 8


@pytest.mark.parametrize("name", MODEL_NAMES)
@pytest.mark.parametrize("size_hw", [(64, 96), (45, 61), (33, 32), (1, 1)])
def test_every_input_size_gives_scores_of_that_size(name: str, size_hw: tuple[int, int]) -> None:
    model = build_model(name).eval()
    with torch.inference_mode():
        scores = model(torch.rand(2, 3, *size_hw))
    assert scores.shape == (2, 11, *size_hw)
    assert torch.isfinite(scores).all()


def test_auxiliary_scores_are_an_eighth_and_leave_the_scores_alone() -> None:
    model = build_model("segnet-lite").eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        scores, auxiliary = model.forward_with_auxiliary(x)
        assert torch.equal(scores, model(x))
    assert auxiliary.shape == (1, 11, 8, 12)


@pytest.mark.parametrize("size_hw", [(8, 8), (7, 9), (45, 60), (1, 5)])
def test_unpooling_agrees_with_torch(size_hw: tuple[int, int]) -> None:
    # Few distinct values: most windows hold ties. Negative ones lose against nothing.
    x = torch.randint(-2, 3, (2, 3, *size_hw)).float()
    reference_pool = nn.MaxPool2d(2, 2, ceil_mode=True, return_indices=True)
    values, indices = MaxPoolIndices()(x)
    expected_values, expected_indices = reference_pool(x)
    assert torch.equal(values, expected_values)
    assert torch.equal(indices, expected_indices)
    unpooled = IndexUnpool()(values, indices, x)
    assert torch.equal(unpooled, nn.MaxUnpool2d(2, 2)(values, indices, output_size=x.shape))


def test_of_equal_values_the_first_in_row_major_order_wins() -> None:
    _, indices = MaxPoolIndices()(torch.tensor([[[[1.0, 5.0], [5.0, 5.0]]]]))
    assert indices.item() == 1


def test_unpooling_checks_its_sizes() -> None:
    values, indices = MaxPoolIndices()(torch.rand(1, 1, 5, 6))
    with pytest.raises(ValueError, match="7x6 pools to 4x3, got 3x3"):
        IndexUnpool()(values, indices, torch.rand(1, 1, 7, 6))
    with pytest.raises(ValueError, match="values and indices must agree"):
        IndexUnpool()(values[..., :2], indices, torch.rand(1, 1, 5, 6))


def test_unknown_model() -> None:
    with pytest.raises(UsageError) as caught:
        build_model("vnet")
    assert str(caught.value).startswith(
        'unknown model \'vnet\': use model="segnet"|"segnet-basic"|"segnet-lite"|"segnet-edge"|'
    )


def test_weights_survive_a_file(tmp_path: Path) -> None:
    model = build_model("segnet-lite").eval()
    path = tmp_path / "w.safetensors"
    save_weights(path, model, "segnet-lite", epoch=7)
    loaded, meta = load_weights(path)
    assert meta == {"model": "segnet-lite", "epoch": 7}
    assert not list(tmp_path.glob("*.part"))
    for key, value in model.state_dict().items():
        # FP16 keeps 11 bits of mantissa.
        torch.testing.assert_close(loaded.state_dict()[key], value, rtol=2**-11, atol=1e-7)


def test_statistics_too_large_for_fp16_survive_a_file(tmp_path: Path) -> None:
    model = build_model("segnet-basic").eval()
    state = model.state_dict()
    names = [name for name in state if name.endswith("running_var")]
    for name in names:
        state[name].fill_(100_000.0)
    save_weights(tmp_path / "w.safetensors", model, "segnet-basic")
    loaded = load_weights(tmp_path / "w.safetensors")[0].state_dict()
    assert names
    assert all((loaded[name] == 100_000.0).all() for name in names)


def test_unusable_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelError) as missing:
        load_weights(tmp_path / "none.safetensors")
    assert (
        str(missing.value)
        == f"no weights at {tmp_path / 'none.safetensors'}: train some with 'roadseg train'"
    )
    garbage = tmp_path / "garbage.safetensors"
    whole = weights_bytes(build_model("segnet-basic"), "segnet-basic")
    foreign = save({"weight": torch.zeros(1)}, {"format": "pt"})
    for content in (b"not weights", foreign, whole[:-1], b""):
        garbage.write_bytes(content)
        with pytest.raises(ModelError, match=r"garbage\.safetensors is not a roadseg weights "):
            load_weights(garbage)
    other = tmp_path / "other.safetensors"
    save_weights(other, build_model("segnet-basic"), "segnet-lite")
    with pytest.raises(ModelError, match="does not fit segnet-lite: train it again"):
        load_weights(other)
    classes = tmp_path / "classes.safetensors"
    cat = ClassSet("its own data set", ("cat",), ((1, 2, 3),))
    save_weights(classes, build_model("segnet-basic", 1), "segnet-basic", classes=cat)
    with pytest.raises(ModelError) as caught:
        load_weights(classes, CAMVID)
    assert str(caught.value) == (
        f"{classes} knows the 1 class of its own data set (cat), not the 11 classes of CamVid "
        "(sky, building, pole, ...): use weights that were trained on those"
    )


def test_weights_bring_their_classes(tmp_path: Path) -> None:
    farm = ClassSet("farm", ("track", "field", "sky"), ((90, 60, 30), (60, 140, 40), (0, 0, 255)))
    path = tmp_path / "farm.safetensors"
    save_weights(path, build_model("segnet-basic", 3), "segnet-basic", classes=farm, epoch=1)
    network, meta = load_weights(path, farm)
    assert network(torch.zeros(1, 3, 32, 32)).shape == (1, 3, 32, 32)
    assert meta == {"model": "segnet-basic", "epoch": 1}
    own = weights_classes(path)
    assert own == farm


@pytest.mark.parametrize("colours", [True, False])
def test_files_of_earlier_versions(tmp_path: Path, colours: bool) -> None:
    """PyTorch's own, the first of them without colours."""
    path = tmp_path / "old.pt"
    model = build_model("segnet-lite").eval()
    state = {k: v.half() if v.is_floating_point() else v for k, v in model.state_dict().items()}
    content = {"model": "segnet-lite", "classes": list(CAMVID.names), "state": state}
    content |= {"meta": {"epoch": 7}}
    if colours:
        content |= {"class_set": "CamVid", "palette_rgb": [list(c) for c in CAMVID.colours_rgb]}
    torch.save(content, path)
    assert weights_classes(path) is CAMVID
    loaded, meta = load_weights(path, CAMVID)
    assert meta == {"model": "segnet-lite", "epoch": 7}
    for key, value in state.items():
        torch.testing.assert_close(loaded.state_dict()[key], value.to(loaded.state_dict()[key]))
    path.write_bytes(b"not weights")
    with pytest.raises(ModelError, match=r"old\.pt is not a roadseg weights file"):
        load_weights(path)
    path.unlink()
    with pytest.raises(ModelError, match="no weights at "):
        load_weights(path)


def test_equal_weights_give_equal_bytes() -> None:
    model = build_model("segnet-basic")
    facts = {"recipe": "lite", "epoch": 7, "validation_miou": 0.5}
    first, second = (weights_bytes(model, "segnet-basic", **facts) for _ in range(2))
    assert first == second


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("segnet-lite", "a2a5b7497a88dbdba8dc83a666c06d646f375f0d50f7afeb71485cdad89dd6a9"),
        ("segnet", "942e924b9fd86e88f65304de0fd9a09c97887e01658097bfb5e09a9f527e269d"),
        ("segnet-edge", "78e65c6cf763040a96d44bc54a03aa5d55aa8e220e0922006d881900a4784d06"),
        ("segnet-nano", "8408ef3420fb35e11fec90d50ee1d8bc334fcdee192f9cae9b66903114ce4946"),
        ("segnet-basic", "0e6985775deb61a96338d26fb2c499065035b55e51f97afca423c91e20ea0d21"),
    ],
)
def test_shipped_weights_are_those_that_were_trained(name: str, expected: str) -> None:
    """Checksums of the tensors; segnet-basic's were PyTorch's file first."""
    path = WEIGHTS_DIR / f"{name}.safetensors"
    digest = hashlib.sha256()
    for key, value in sorted(load_file(path).items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.numpy().tobytes())
    assert digest.hexdigest() == expected
    header = read_header(path)
    assert (header.model, header.classes) == (name, CAMVID)
    assert header.meta["training"] == load_manifest()[name].training
    assert find_calibration(name, sha256_of(path)).resolve() == shipped_calibration(name)


@pytest.mark.parametrize("name", [*MODEL_NAMES, *COMPARISON_NAMES])
def test_every_network_takes_a_number_of_classes(name: str) -> None:
    with torch.device("meta"):
        network = build_model(name, 37)
    heads = [m for m in network.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert any(head.out_channels in (37, 4 * 37) for head in heads)
    assert not any(head.out_channels == 11 for head in heads)
