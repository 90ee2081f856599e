"""INT8 for OpenVINO: really INT8, on every processor the same, and judged on both kinds of them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
import torch
from torch import Tensor, nn

from roadseg.core.errors import BackendError
from roadseg.datasets.frames import CalibrationFrames
from roadseg.export import qdq
from roadseg.export.ir import finish_ir, from_onnx
from roadseg.export.network import TrainedNetwork
from roadseg.export.onnx import build_onnx
from roadseg.export.quantizable import QuantizableGraph
from roadseg.media.sources.opening import open_source
from roadseg.models.pooling import IndexUnpool, MaxPoolIndices
from roadseg.quantize import search, without_vnni
from roadseg.quantize.accuracy import agreement, predict_openvino
from roadseg.quantize.activations import choose_scales, observe_activations
from roadseg.quantize.quantizing import int8_network
from roadseg.quantize.search import calibrate_network
from roadseg.quantize.without_vnni import predict_without_vnni
from roadseg.weights import WEIGHTS_DIR
from roadseg.weights.calibration import Calibration, FrameRecord
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("as_typed")

Array = npt.NDArray[Any]
Runner = Callable[[Any, Array], Array]
HW = (64, 96)


@pytest.fixture(scope="module")
def collected(frames: Callable[..., Array]) -> CalibrationFrames:
    batches = [frames(HW, seed=seed) for seed in range(6)]
    records = tuple(FrameRecord(f"{i}.png", "") for i in range(6))
    return CalibrationFrames(records, batches, HW, "drive")


def quantized(module: nn.Module, frames: CalibrationFrames) -> tuple[Any, Calibration]:
    """The network for OpenVINO with every layer in INT8, and its scales."""
    graph = build_onnx(module, "tiny", size_hw=HW)
    names = QuantizableGraph(graph.graph, unsigned=True).scale_sources()
    scales = choose_scales(
        observe_activations(graph, names, frames.batches, threads=1), "percentile"
    )
    calibration = Calibration("tiny", "abc", HW, "percentile", frames.records, scales)
    return int8_network(TrainedNetwork(module, "tiny", "abc"), calibration), calibration


@pytest.fixture(scope="module")
def int8(tiny: nn.Module, collected: CalibrationFrames) -> Any:
    return quantized(tiny, collected)[0]


def compiled_kinds(model: Any) -> Counter[tuple[str, str]]:
    """How many layers of each type run in each precision."""
    model = model.clone()
    model.reshape([1, *HW, 3])
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found: Counter[tuple[str, str]] = Counter()
    for node in compiled.get_runtime_model().get_ordered_ops():
        facts = node.get_rt_info()
        kind, precision = (facts[k].astype(str) for k in ("layerType", "runtimePrecision"))
        found[kind, precision] += 1
    return found


def test_the_compiled_network_runs_in_int8(int8: Any, tiny: nn.Module) -> None:
    kinds = compiled_kinds(int8)
    # All five convolutions, the one on the frame too, and everything that moves features about.
    assert kinds["Convolution", "u8"] + kinds["Convolution", "i8"] == 5
    assert kinds["Convolution", "f32"] == 0
    assert kinds["Pooling", "u8"] == kinds["DepthToSpace", "u8"] == 2
    assert kinds["StridedSlice", "u8"] == 6
    assert kinds["Pooling", "f32"] == kinds["DepthToSpace", "f32"] == 0
    assert compiled_kinds(from_onnx(build_onnx(tiny, "tiny")))["Convolution", "f32"] == 5


class PlacesOnly(nn.Module):
    """The labels are read off sparse unpooled values: they are wrong wherever an index is."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(nn.Conv2d(16, 16, 1), nn.ReLU())
        self.classifier = nn.Conv2d(16, 11, 1)
        self.pool = MaxPoolIndices()
        self.unpool = IndexUnpool()

    def forward(self, x: Tensor) -> Tensor:
        features = self.features(x)
        pooled, places = self.pool(features)
        scores: Tensor = self.classifier(self.unpool(self.deep(pooled), places, features))
        return scores


def test_indices_survive(
    collected: CalibrationFrames, frames: Callable[..., Array], run_openvino: Runner
) -> None:
    torch.manual_seed(0)
    network = PlacesOnly().eval()
    reference = from_onnx(build_onnx(network, "places"))
    finish_ir(reference)
    batch = frames(HW, seed=99)
    model, _calibration = quantized(network, collected)
    same = run_openvino(model, batch) == run_openvino(reference, batch)
    assert same.mean() > 0.95


def test_the_int8_network_takes_other_sizes(
    int8: Any, frames: Callable[..., Array], run_openvino: Runner
) -> None:
    assert run_openvino(int8, frames((32, 160))).shape == (1, 32, 160)


class Bright(nn.Module):
    """On white frames sums of two products exceed 16 bits, unless the weights leave room."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 16, 1), nn.ReLU())
        self.classifier = nn.Conv2d(16, 11, 1)
        for layer in (self.features[0], self.classifier):
            layer.weight.data.zero_()
            layer.bias.data.zero_()
        # Each of the 16 features is the frame's brightness, 0..1.
        self.features[0].weight.data.fill_(1 / 3)
        # Class 0 gets 16 on white; a sum that stops at 32767 makes 8 of it, and class 1 wins.
        self.classifier.weight.data[0] = 1
        self.classifier.bias.data[1] = 12

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.classifier(self.features(x))
        return scores


@pytest.mark.parametrize("room", [True, False])
def test_large_sums_are_right_without_vnni(room: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    white = np.full((1, *HW, 3), 255, np.uint8)
    frames = CalibrationFrames((FrameRecord("white.png", ""),), [white], HW, "white")
    graph = build_onnx(Bright().eval(), "tiny", size_hw=HW, weights_sha256="abc")
    _model, calibration = quantized(Bright().eval(), frames)
    if not room:
        fill = qdq.quantize_weights
        monkeypatch.setattr(qdq, "quantize_weights", lambda w, axis, room: fill(w, axis))
    model = qdq.insert_qdq(graph, calibration, unsigned=True)
    (labels,) = predict_without_vnni(model, [white], HW, threads=1)
    assert labels.shape == HW
    # What the room is for: without it, this very network is wrong everywhere.
    assert (labels == (0 if room else 1)).all()


def test_shipped_networks_give_the_same_labels_without_vnni() -> None:
    batches = []
    with open_source(str(ROOT / "samples" / "drive.mp4"), max_frames=101) as source:
        while (frame := source.read()) is not None:
            if len(batches) * 25 <= frame.index:
                batches.append(frame.image_bgr[np.newaxis, :352, :480])
    assert len(batches) == 5
    file = WEIGHTS_DIR / "segnet-lite-int8.xml"
    hw = batches[0].shape[1:3]
    older = predict_without_vnni(file, batches, hw, threads=1)
    assert len(older) == 5
    newer = predict_openvino(ov.Core().read_model(file), batches, hw, threads=1)
    assert agreement(newer, older) >= 0.99


def test_the_worse_kind_of_processor_counts(
    tiny: nn.Module,
    collected: CalibrationFrames,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "roadseg")
    network = TrainedNetwork(tiny, "tiny", "abc")
    asked: list[Any] = []

    def older(model: Any, batches: list[Array], hw: Any, **_: Any) -> list[Array]:
        asked.append(model)
        return [np.zeros(hw, np.uint8) for _ in batches]

    monkeypatch.setattr(search, "predict_without_vnni", older)
    monkeypatch.setattr(search, "rank_layers", lambda *_, **__: ["pool"])
    monkeypatch.setattr(search.platform, "machine", lambda: "AMD64")
    found = calibrate_network(network, collected, None, unsigned=True, force=True, threads=1)
    assert found.gate is not None
    assert found.gate.label_miou is not None
    assert found.gate.label_miou < 0.2
    assert found.gate.measured_with.endswith(", without VNNI")
    assert "% of labels are the same with and without VNNI" in caplog.text
    assert len(asked) == 1
    # TensorRT's scales, and other processors than x86, know one kind.
    monkeypatch.setattr(search.platform, "machine", lambda: "aarch64")
    for unsigned in (True, False):
        alike = calibrate_network(network, collected, None, unsigned=unsigned, force=True)
        assert alike.gate is not None
        assert not alike.gate.measured_with.endswith("VNNI")
    assert len(asked) == 1


def test_a_process_that_fails(tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.xml"
    damaged.write_text("<net/>")
    with pytest.raises(BackendError) as caught:
        predict_without_vnni(damaged, [np.zeros((1, *HW, 3), np.uint8)], HW)
    assert str(caught.value).startswith(
        "the network cannot be run as on a processor without VNNI ("
    )
    assert str(damaged) in str(caught.value)


def test_the_process_is_held_to_older_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    used: dict[str, Any] = {}

    def run(command: list[str], **how: Any) -> Any:
        used.update(how, command=command)
        np.save(Path(command[-2]) / "labels.npy", np.zeros((0, *HW), np.uint8))
        return type("Done", (), {"returncode": 0})

    monkeypatch.setattr(without_vnni.subprocess, "run", run)
    assert predict_without_vnni(Path("a.xml"), [], HW) == []
    assert used["command"][0] == sys.executable
    assert used["env"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    assert "ONEDNN_MAX_CPU_ISA" not in os.environ
