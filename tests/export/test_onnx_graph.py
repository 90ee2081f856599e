"""What an exported graph looks like, what it says of itself, and what export refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roadseg import __version__
from roadseg.core.errors import ModelError, SinkError, UsageError
from roadseg.core.labels import CLASS_NAMES
from roadseg.export.onnx import build_onnx, save_onnx
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices

pytestmark = pytest.mark.usefixtures("as_typed")

Array = npt.NDArray[Any]
Runner = Callable[[Any, Array], Array]


def dims(value: Any) -> list[str | int]:
    return [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]


def test_uint8_frames_in_and_uint8_labels_out(tiny: nn.Module) -> None:
    graph = build_onnx(tiny, "tiny").graph
    (frame,), (labels,) = graph.input, graph.output
    assert (frame.name, labels.name) == ("frame_bgr", "labels")
    assert dims(frame) == ["batch", "height", "width", 3]
    assert dims(labels) == ["batch", "height", "width"]
    assert frame.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert labels.type.tensor_type.elem_type == onnx.TensorProto.UINT8


def test_logits_and_a_fixed_size(tiny: nn.Module) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=(45, 60), output="logits").graph
    assert dims(graph.input[0]) == ["batch", 45, 60, 3]
    assert graph.output[0].name == "logits"
    assert dims(graph.output[0]) == ["batch", 11, 45, 60]
    assert graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT


def test_only_standard_operations_and_folded_normalisation(tiny: nn.Module) -> None:
    model = build_onnx(tiny, "tiny")
    assert [(o.domain, o.version) for o in model.opset_import] == [("", 17)]
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {"BatchNormalization", "MaxUnpool", "Mul", "Div", "Pad"}
    assert {"MaxPool", "DepthToSpace", "ArgMax"} <= kinds
    assert all(len(node.output) == 1 for node in model.graph.node)
    interleaves = [node for node in model.graph.node if node.op_type == "DepthToSpace"]
    assert {node.attribute[1].s for node in interleaves} == {b"DCR"}
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    scale = tiny.first[1].weight / torch.sqrt(tiny.first[1].running_var + tiny.first[1].eps)
    expected = tiny.first[0].weight * scale[:, None, None, None] / 255
    np.testing.assert_allclose(weights["first.0.weight"], expected.detach(), rtol=1e-5)


def test_no_pixel_count_is_baked_in(tiny: nn.Module) -> None:
    for initializer in build_onnx(tiny, "tiny").graph.initializer:
        if initializer.data_type == onnx.TensorProto.INT64:
            assert set(onnx.numpy_helper.to_array(initializer)) <= {0, 1, 2, 3, 2**31 - 1}


def test_metadata(tiny: nn.Module) -> None:
    model = build_onnx(tiny, "tiny", size_hw=(64, 96), weights_sha256="abc")
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts.pop("classes")) == list(CLASS_NAMES)
    palette = json.loads(facts.pop("palette_rgb"))
    assert palette[4] == [60, 40, 222]
    assert len(palette) == 12
    assert facts == {
        "roadseg_version": __version__,
        "model": "tiny",
        "size_hw": "[64, 96]",
        "batch": "any",
        "lowering": "native",
        "precision": "fp32",
        "output": "labels",
        "weights_sha256": "abc",
    }
    facts = {
        entry.key: entry.value
        for entry in build_onnx(tiny, "tiny", batch=4, precision="fp16").metadata_props
    }
    assert (facts["batch"], facts["precision"]) == ("4", "fp16")
    free = {entry.key: entry.value for entry in build_onnx(tiny, "tiny").metadata_props}
    assert free["size_hw"] == "any multiple of 32"


def test_export_does_not_change_the_network(tiny: nn.Module) -> None:
    before = {key: value.clone() for key, value in tiny.state_dict().items()}
    tiny.train()
    build_onnx(tiny, "tiny")
    assert tiny.training
    tiny.eval()
    assert all(torch.equal(value, before[key]) for key, value in tiny.state_dict().items())


class ManyLayers(nn.Module):
    """Each further operation that export covers, in one network."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.six = nn.ReLU6()
        self.dilated = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.max_pool = nn.MaxPool2d(2)
        self.average = nn.AvgPool2d(3, 1, 1)
        self.whole = nn.AdaptiveAvgPool2d(1)
        self.gate = nn.Sequential(nn.Conv2d(8, 8, 1), nn.Sigmoid(), nn.Dropout(0.5))
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.response = nn.LocalResponseNorm(5)
        self.wide = nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1, output_padding=1)
        self.wide_norm = nn.BatchNorm2d(16)
        self.classifier = nn.Conv2d(16, 11, 1)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        nn.init.uniform_(self.wide_norm.weight, 0.5, 1.5)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        half = self.norm(torch.relu(self.first(x)))
        # About half of the values are above six, or below zero.
        half = self.six(8 * half) - F.relu6(16 * half)
        quarter = self.average(self.max_pool(self.dilated(half)))
        gate = self.gate(self.whole(quarter))
        scene = quarter.mean((2, 3), keepdim=True).expand(-1, -1, quarter.size(2), quarter.shape[3])
        mixed = self.response(quarter * gate - 0.5 * scene)
        wide = scene + F.interpolate(gate, size=quarter.shape[-2:], mode="bilinear")
        up = F.interpolate(mixed + wide, size=half.shape[-2:], mode="bilinear", align_corners=False)
        up = up + self.up(mixed) + F.interpolate(mixed, scale_factor=2)
        both = self.wide_norm(self.wide(torch.cat([up, half], dim=1)))
        scores: Tensor = self.classifier(both.contiguous())
        return scores[:, :, :height, :width]


@pytest.mark.parametrize("size_hw", [None, (64, 96), (45, 51)])
def test_every_operation_agrees_with_pytorch(
    size_hw: tuple[int, int] | None,
    frames: Callable[..., Array],
    run_torch: Runner,
    run_onnx: Runner,
    run_openvino: Runner,
) -> None:
    torch.manual_seed(3)
    network = (FixedCrop() if size_hw == (45, 51) else ManyLayers()).eval()
    graph = build_onnx(network, "many", size_hw=size_hw, output="logits")
    for hw in [size_hw] if size_hw else [(64, 96), (32, 160)]:
        batch = frames(hw, 2)
        expected = run_torch(network, batch)
        np.testing.assert_allclose(run_onnx(graph, batch), expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(run_openvino(graph, batch), expected, rtol=1e-4, atol=1e-5)


def test_a_relu6_is_one_operation_with_numbers_for_ends() -> None:
    network = nn.Sequential(nn.Conv2d(3, 11, 1), nn.ReLU6()).eval()
    for precision, dtype in (("fp32", np.float32), ("fp16", np.float16)):
        graph = build_onnx(network, "six", size_hw=(32, 32), precision=precision).graph
        (clip,) = (node for node in graph.node if node.op_type == "Clip")
        values = {i.name: onnx.numpy_helper.to_array(i) for i in graph.initializer}
        ends = [values[name] for name in clip.input[1:]]
        assert [(end.shape, end.dtype, float(end)) for end in ends] == [
            ((), dtype, 0.0),
            ((), dtype, 6.0),
        ]


class FixedCrop(nn.Module):
    """A stride-2 convolution and back, at odd sizes: the result is cut to the frame."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 11, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.up(F.dropout(F.relu(self.down(x)), training=False))
        return scores[..., : x.size(2), : x.shape[-1]]


class Wraps(nn.Module):
    """A network with one questionable step."""

    def __init__(self, step: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 11, 1)
        self.step = step

    def forward(self, x: Tensor) -> Any:
        return self.step(self.first(x))


class Gelu(Wraps):
    def __init__(self) -> None:
        super().__init__(nn.GELU())


def _branch(x: Tensor) -> Tensor:
    return x if x.sum() > 0 else -x


REFUSED = [
    (
        Gelu(),
        "export does not cover GELU (at step): write the network with convolutions, pooling, "
        "interpolation, concatenation and sums",
    ),
    (
        Wraps(lambda x: torch.cumsum(x, 1)),
        "export does not cover cumsum (at cumsum): write the network with convolutions, pooling, "
        "interpolation, concatenation and sums",
    ),
    (
        Wraps(_branch),
        "Wraps cannot be exported (symbolically traced variables cannot be used as inputs to "
        "control flow): write its forward without branches on tensors or their sizes",
    ),
    (
        Wraps(lambda x: (x, x)),
        "export expected one tensor, got (first, first): "
        "let the network return its class scores and nothing else",
    ),
    (
        Wraps(lambda x: F.interpolate(x, scale_factor=2, mode="bicubic")),
        "export covers nearest and bilinear interpolation: see interpolate",
    ),
    (
        Wraps(lambda x: x.mean(2, keepdim=True)),
        "export covers means over the whole map with both axes kept: see mean",
    ),
    (
        Wraps(lambda x: x[:, 0]),
        "export covers crops, no other indexing: see getitem",
    ),
    (
        Wraps(lambda x: F.interpolate(x.mean((2, 3), keepdim=True), size=(x.shape[2] // 2, 3))),
        "export cannot follow how floordiv is computed from the input's size: give a fixed --size",
    ),
    (
        nn.Conv2d(3, 11, 3, padding=1, padding_mode="reflect"),
        "export covers zero padding given in pixels only: see step",
    ),
]


@pytest.mark.parametrize(("network", "message"), REFUSED, ids=range(len(REFUSED)))
def test_what_export_does_not_cover_is_named(network: nn.Module, message: str) -> None:
    wrapped = network if isinstance(network, Wraps) else StepOnly(network)
    with pytest.raises(ModelError) as caught:
        build_onnx(wrapped, "odd")
    assert str(caught.value) == message


class StepOnly(nn.Module):
    def __init__(self, step: nn.Module) -> None:
        super().__init__()
        self.step = step

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.step(x)
        return result


class UnevenUnpool(nn.Module):
    """Unpools to the size of the wrong map."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()

    def forward(self, x: Tensor) -> Tensor:
        pooled, places = self.pool(x)
        result: Tensor = self.unpool(pooled, places, pooled)
        return result


def test_an_unpool_to_another_size_is_refused() -> None:
    with pytest.raises(ModelError) as caught:
        build_onnx(UnevenUnpool(), "uneven")
    assert str(caught.value) == (
        "unpool unpools 32x48 maps to 32x48: give it twice the size, or one less"
    )


def test_a_frame_too_small_for_the_network() -> None:
    network = StepOnly(nn.Conv2d(3, 11, 7))
    with pytest.raises(ModelError) as caught:
        build_onnx(network, "large kernel", size_hw=(4, 9))
    text = str(caught.value)
    assert text.startswith("StepOnly cannot take 4x9 frames (")
    assert text.endswith("): use a larger --size")


def test_unknown_choices(tiny: nn.Module) -> None:
    with pytest.raises(UsageError) as caught:
        build_onnx(tiny, "tiny", lowering="plugins")
    assert str(caught.value) == "unknown lowering 'plugins': use --lowering native|plugin"
    with pytest.raises(UsageError) as caught:
        build_onnx(tiny, "tiny", output="masks")  # type: ignore[arg-type]
    assert str(caught.value) == "unknown output 'masks': use labels or logits"
    with pytest.raises(UsageError) as caught:
        build_onnx(tiny, "tiny", precision="fp8")  # type: ignore[arg-type]
    assert str(caught.value) == "unknown precision 'fp8': use fp32 or fp16"
    with pytest.raises(UsageError) as caught:
        build_onnx(tiny, "tiny", batch=0)
    assert str(caught.value) == "a batch has 1 frame or more, got 0: use for example --batch 4"


def test_saved_file_is_the_graph(tiny: nn.Module, tmp_path: Path) -> None:
    model = build_onnx(tiny, "tiny")
    save_onnx(model, tmp_path / "tiny.onnx")
    assert onnx.load(tmp_path / "tiny.onnx") == model
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.onnx"]


def test_unwritable_file(tiny: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "absent" / "tiny.onnx"
    with pytest.raises(SinkError) as caught:
        save_onnx(build_onnx(tiny, "tiny"), path)
    assert str(caught.value) == (
        f"cannot write {path} ({os.strerror(2)}): free some space, or give another path"
    )
