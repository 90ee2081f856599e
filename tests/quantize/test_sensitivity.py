"""Which layers INT8 harms, and leaving them float until the gate holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from roadseg.core.errors import QualityGateError
from roadseg.core.labels import CAMVID
from roadseg.datasets.frames import CalibrationFrames
from roadseg.export.network import TrainedNetwork
from roadseg.export.onnx import build_onnx
from roadseg.export.quantizable import QuantizableGraph
from roadseg.quantize import search as int8
from roadseg.quantize.accuracy import (
    LabelledTruth,
    agreement,
    label_miou,
    load_truth,
    miou,
    predict,
)
from roadseg.quantize.search import calibrate_network
from roadseg.quantize.sensitivity import float_layer_counts, rank_layers
from roadseg.weights.calibration import Calibration, FrameRecord, Gate

Array = npt.NDArray[Any]
HW = (32, 64)


@pytest.fixture(scope="module")
def collected(frames: Callable[..., Array]) -> CalibrationFrames:
    batches = [frames(HW, seed=seed) for seed in range(4)]
    records = tuple(FrameRecord(f"{i}.png", "") for i in range(4))
    return CalibrationFrames(records, batches, HW, "drive")


class Labelled:
    """The float network's own labels as the truth."""

    def __init__(self, tiny: nn.Module, batches: list[Array]) -> None:
        graph = build_onnx(tiny, "tiny", size_hw=HW)
        self.pairs = list(zip(batches, predict(graph, batches, HW, threads=1), strict=True))

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        return ((batch[0], ids) for batch, ids in self.pairs)


@pytest.fixture(scope="module")
def labelled(tiny: nn.Module, collected: CalibrationFrames) -> Labelled:
    return Labelled(tiny, collected.batches)


@pytest.fixture
def trained(tiny: nn.Module) -> TrainedNetwork:
    return TrainedNetwork(tiny, "tiny", "abc")


def test_the_layer_with_a_ruinous_scale_comes_first(
    tiny: nn.Module, collected: CalibrationFrames
) -> None:
    graph = build_onnx(tiny, "tiny", size_hw=HW)
    structure = QuantizableGraph(graph.graph)
    scales = dict.fromkeys(structure.scale_sources(), 0.01)
    scales["fourth.1:0"] = 50.0  # the classifier's input: all zeros
    calibration = Calibration("tiny", "", HW, "absmax", (), scales)
    seen: list[str] = []
    ranking = rank_layers(
        graph,
        calibration,
        collected.batches,
        threads=1,
        progress=lambda state: seen.append(state.detail),
    )
    assert ranking[0] == "classifier"
    assert sorted(ranking) == sorted(structure.layers)
    assert seen == [f"{i}/8" for i in range(1, 9)]


def test_how_many_layers_are_tried() -> None:
    assert list(float_layer_counts(31)) == [1, 2, 3, 5, 8, 12, 18, 27]
    assert list(float_layer_counts(2)) == [1]
    assert list(float_layer_counts(1)) == []


def test_agreement_and_miou(tiny: nn.Module, labelled: Labelled) -> None:
    truth = load_truth(labelled, HW)
    own = [ids for _batch, ids in labelled.pairs]
    assert miou(own, truth) == 1.0
    assert agreement(own, own) == 1.0
    assert agreement([np.array([[1, 2], [3, 4]])], [np.array([[1, 2], [0, 0]])]) == 0.5
    half = LabelledTruth([own[0][None]], [np.where(np.arange(64) < 32, own[0], 11)])
    assert miou(own[:1], half) == 1.0  # void is ignored


def test_an_unlabelled_calibration(
    trained: TrainedNetwork, collected: CalibrationFrames, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "roadseg")
    stages: list[str] = []
    found = calibrate_network(
        trained,
        collected,
        None,
        force=True,  # random weights: rounding moves a rare class about
        threads=1,
        progress=lambda state: stages.append(state.stage),
    )
    assert found.gate is not None
    assert (found.gate.measured_on, found.gate.images) == ("drive", 4)
    assert (found.gate.fp32_miou, found.gate.int8_miou, found.gate.drop_points) == (None,) * 3
    assert 0.9 < found.gate.agreement <= 1
    assert found.gate.measured_with.startswith("openvino 20")
    assert found.frames == collected.records
    assert found.size_hw == HW
    assert (found.model, found.weights_sha256) == ("tiny", "abc")
    assert found.gate.label_miou is not None
    assert 0 < found.gate.label_miou <= 1
    assert any(
        line.startswith(
            f"drive (4 frames): {100 * found.gate.agreement:.2f}% of labels as in fp32, mean IoU "
            f"with fp32 {found.gate.label_miou:.3f}"
        )
        for line in caplog.messages
    )
    assert list(dict.fromkeys(stages))[:3] == ["ranges", "fp32", "int8"]
    again = calibrate_network(trained, collected, None, threads=1, force=True)
    assert again == found


def test_the_mean_iou_of_two_labellings() -> None:
    truth = np.zeros((100, 100), np.uint8)
    truth[:50] = 1
    labels = truth.copy()
    labels[:10] = 0
    # Class 0: 5000 of 6000; class 1: 4000 of 5000.
    assert label_miou([truth], [labels], 11) == pytest.approx((5 / 6 + 4 / 5) / 2)
    # A class of fewer than a thousandth of the pixels does not count.
    truth[0, :9] = 7
    assert label_miou([truth], [labels], 11) == pytest.approx((5 / 6 + 4 / 5) / 2, abs=1e-3)
    truth[0, :11] = 7
    assert label_miou([truth], [labels], 11) == pytest.approx((5 / 6 + 4 / 5) / 3, abs=1e-3)
    assert label_miou([truth], [truth], 11) == 1


def test_a_labelled_calibration(
    trained: TrainedNetwork, collected: CalibrationFrames, labelled: Labelled
) -> None:
    found = calibrate_network(trained, collected, labelled, max_drop_points=100, threads=1)
    gate = found.gate
    assert gate is not None
    assert gate.measured_on == "val.txt"
    assert gate.fp32_miou == 1.0
    assert gate.int8_miou is not None
    assert gate.drop_points == pytest.approx(100 * (1 - gate.int8_miou))
    assert found.float_layers == ()


class FakeJudge:
    """Says how much INT8 costs, by the number of layers left float."""

    drops: dict[int, float]

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __call__(self, calibration: Calibration) -> Gate:
        drop = self.drops[len(calibration.float_layers)]
        return Gate("val.txt", 2, 0.7, 0.7 - drop / 100, drop, 0.9, "a fake")


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[int, float]], None]:
    def use(drops: dict[int, float]) -> None:
        judge = type("Judge", (FakeJudge,), {"drops": drops})
        monkeypatch.setattr(int8, "_Judge", judge)
        ranking = ["unpool", "classifier", "third.0", "pool", "second.0", "fourth.0"]
        monkeypatch.setattr(int8, "rank_layers", lambda *_, **__: ranking)

    return use


def test_layers_stay_float_until_the_gate_holds(
    trained: TrainedNetwork,
    collected: CalibrationFrames,
    judged: Callable[[dict[int, float]], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO", "roadseg")
    judged({0: 2.0, 1: 1.5, 2: 0.5})
    found = calibrate_network(trained, collected, None, threads=1)
    assert found.float_layers == ("classifier", "unpool")
    assert found.gate is not None
    assert found.gate.drop_points == 0.5
    assert caplog.messages == [
        "val.txt (2 frames): mIoU 70.00 in fp32, 68.00 in int8 (-2.00 points), "
        "90.00% of labels as in fp32",
        "val.txt (2 frames): mIoU 70.00 in fp32, 68.50 in int8 (-1.50 points), "
        "90.00% of labels as in fp32, float: unpool",
        "val.txt (2 frames): mIoU 70.00 in fp32, 69.50 in int8 (-0.50 points), "
        "90.00% of labels as in fp32, float: classifier, unpool",
    ]


def test_a_gate_that_never_holds(
    trained: TrainedNetwork,
    collected: CalibrationFrames,
    judged: Callable[[dict[int, float]], None],
) -> None:
    judged({0: 4.0, 1: 3.0, 2: 1.0, 3: 2.0, 5: float("nan")})
    with pytest.raises(QualityGateError) as caught:
        calibrate_network(trained, collected, None, threads=1)
    assert str(caught.value) == (
        "INT8 costs 1.00 points of mIoU on val.txt even with 2 layers left float, allowed are "
        "0.5: nothing was written: calibrate on more frames, allow more with max_drop_points, "
        "or use force=True"
    )
    forced = calibrate_network(trained, collected, None, threads=1, force=True)
    assert forced.float_layers == ("classifier", "unpool")


def test_spared_layers_are_worth_it(
    tiny: nn.Module, collected: CalibrationFrames, labelled: Labelled
) -> None:
    """The whole way with a network that INT8 really harms: one channel dwarfs all others."""
    import copy

    harmed: Any = copy.deepcopy(tiny)
    with torch.no_grad():
        harmed.fourth[0].weight[0] *= 3000
        harmed.fourth[0].bias[0] = 3000.0
        harmed.classifier.weight[:, 0] /= 3000
    truth = Labelled(harmed, collected.batches)
    network = TrainedNetwork(harmed, "tiny", "abc")
    found = calibrate_network(
        network, collected, truth, method="absmax", max_drop_points=20, threads=1
    )
    assert "classifier" in found.float_layers
    all_int8 = replace(found, float_layers=())
    judge = int8._Judge(
        build_onnx(harmed, "tiny", size_hw=HW, weights_sha256="abc"),
        collected,
        truth,
        CAMVID,
        threads=1,
    )
    worse = judge(all_int8)
    assert found.gate is not None
    assert found.gate.drop_points is not None
    assert worse.drop_points is not None
    assert found.gate.drop_points <= 20 < worse.drop_points
