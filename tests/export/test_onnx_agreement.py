"""PyTorch against ONNX Runtime against OpenVINO, in FP32.

Tolerances: labels equal at 99.9 % of the pixels of frames of real size; at 99.5 %, and scores
within 1e-4 of the largest score, for the small frames here. The runtimes add up in different
orders; where two values of a pooling window differ by less than that, an index moves, and the
scores around it with it. One such move is a tenth of a percent of a small frame. Random weights,
as here, are the worst case: their scores are noise. Trained networks on real frames agree at
every pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import nn

from roadseg.core.geometry import preprocess
from roadseg.datasets.camvid import CamVid
from roadseg.export.ir import finish_ir, from_onnx
from roadseg.export.onnx import build_onnx
from roadseg.loading.choice import choose
from roadseg.models import MODEL_NAMES, build_model, load_weights
from roadseg.weights import load_manifest

Array = npt.NDArray[Any]
Runner = Callable[[Any, Array], Array]

SCORE_TOLERANCE = 1e-4
LABEL_AGREEMENT = 0.999
LABEL_AGREEMENT_SMALL = 0.995
LABEL_AGREEMENT_INT8 = 0.95


@pytest.fixture(scope="module", params=MODEL_NAMES)
def named_network(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    torch.manual_seed(1)
    network = build_model(request.param)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.1)
            assert layer.running_var is not None
            nn.init.uniform_(layer.running_var, 0.5, 1.5)
    return request.param, network.eval()


def agreement(a: Array, b: Array) -> float:
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    return float((a == b).mean())


def as_labels(scores: Array) -> Array:
    return np.asarray(scores.argmax(axis=1), dtype=np.uint8)


def test_one_graph_takes_all_sizes_and_batches(
    named_network: tuple[str, nn.Module],
    frames: Callable[..., Array],
    run_torch: Runner,
    run_onnx: Runner,
    run_openvino: Runner,
) -> None:
    name, network = named_network
    graph = build_onnx(network, name)
    for size_hw, count in [((64, 96), 1), ((96, 32), 2)]:
        batch = frames(size_hw, count)
        expected = as_labels(run_torch(network, batch))
        assert agreement(run_onnx(graph, batch), expected) >= LABEL_AGREEMENT_SMALL
        assert agreement(run_openvino(graph, batch), expected) >= LABEL_AGREEMENT_SMALL


@pytest.mark.parametrize("size_hw", [(45, 67), (1, 1), (33, 2)])
def test_odd_sizes(
    size_hw: tuple[int, int],
    named_network: tuple[str, nn.Module],
    frames: Callable[..., Array],
    run_torch: Runner,
    run_onnx: Runner,
    run_openvino: Runner,
) -> None:
    name, network = named_network
    if name == "segnet" and size_hw != (45, 67):
        pytest.skip("takes seconds and shows nothing that the smaller networks do not")
    graph = build_onnx(network, name, size_hw=size_hw, output="logits")
    batch = frames(size_hw)
    scores = run_torch(network, batch)
    largest = np.abs(scores).max()
    for run in (run_onnx, run_openvino):
        result = run(graph, batch)
        assert result.shape == (1, 11, *size_hw)
        assert result.dtype == np.float32
        assert agreement(as_labels(result), as_labels(scores)) >= LABEL_AGREEMENT_SMALL
        # One moved index changes the scores around it: all but a few pixels are compared.
        error = np.abs(result - scores).max(axis=1) / largest
        assert np.quantile(error, 0.99) <= SCORE_TOLERANCE


def test_a_frame_of_the_real_size(
    frames: Callable[..., Array], run_torch: Runner, run_onnx: Runner, run_openvino: Runner
) -> None:
    torch.manual_seed(2)
    network = build_model("segnet-lite").eval()
    graph = build_onnx(network, "segnet-lite")
    finished = from_onnx(graph)
    finish_ir(finished)
    batch = frames((352, 480))
    expected = as_labels(run_torch(network, batch))
    assert agreement(run_onnx(graph, batch), expected) >= LABEL_AGREEMENT
    assert agreement(run_openvino(graph, batch), expected) >= LABEL_AGREEMENT
    assert agreement(run_openvino(finished, batch), expected) >= LABEL_AGREEMENT


def test_a_real_frame_at_its_own_size(
    camvid_dir: Path, run_torch: Runner, run_onnx: Runner, run_openvino: Runner
) -> None:
    image_bgr, _labels = CamVid(camvid_dir, "val")[0]
    torch.manual_seed(2)
    network = build_model("segnet-lite").eval()
    # 360 rows are not a multiple of 16: two of the pools see an odd number of them.
    graph = build_onnx(network, "segnet-lite", size_hw=(360, 480))
    batch = image_bgr[np.newaxis]
    expected = as_labels(run_torch(network, batch))
    assert agreement(run_onnx(graph, batch), expected) >= LABEL_AGREEMENT
    assert agreement(run_openvino(graph, batch), expected) >= LABEL_AGREEMENT


def test_shipped_weights_on_real_frames(
    camvid_dir: Path, run_torch: Runner, run_onnx: Runner, run_openvino: Runner
) -> None:
    entry = load_manifest()["segnet-lite"]
    network, _meta = load_weights(entry.files["torch"].parts[0].path)
    graph = build_onnx(network, "segnet-lite")
    int8 = choose("segnet-lite", "openvino").open((352, 480))
    dataset = CamVid(camvid_dir, "val")
    for index in (0, 50, 100):
        batch = preprocess(dataset[index][0], (352, 480))[0][np.newaxis]
        expected = as_labels(run_torch(network, batch))
        assert agreement(run_onnx(graph, batch), expected) >= LABEL_AGREEMENT
        assert agreement(run_openvino(graph, batch), expected) >= LABEL_AGREEMENT
        # What INT8 costs is judged by mIoU, when it is made; this says that it is the same network.
        assert agreement(int8.infer(batch), expected) >= LABEL_AGREEMENT_INT8


class EqualScores(nn.Module):
    """Classes 3, 7 and 9 share the best score everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.scores = nn.Conv2d(3, 11, 1)
        nn.init.zeros_(self.scores.weight)
        assert self.scores.bias is not None
        with torch.no_grad():
            self.scores.bias.copy_(torch.tensor([0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0.5]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.scores(x)
        return result


def test_the_lowest_of_equal_classes_wins(
    frames: Callable[..., Array], run_torch: Runner, run_onnx: Runner, run_openvino: Runner
) -> None:
    network = EqualScores().eval()
    graph = build_onnx(network, "equal")
    finished = from_onnx(graph)
    finish_ir(finished)
    batch = frames((32, 64), 2)
    expected = np.full((2, 32, 64), 3, np.uint8)
    np.testing.assert_array_equal(as_labels(run_torch(network, batch)), expected)
    np.testing.assert_array_equal(run_onnx(graph, batch), expected)
    np.testing.assert_array_equal(run_openvino(graph, batch), expected)
    np.testing.assert_array_equal(run_openvino(finished, batch), expected)


def test_finishing_changes_no_label(
    tiny: nn.Module, frames: Callable[..., Array], run_openvino: Runner
) -> None:
    raw = from_onnx(build_onnx(tiny, "tiny"))
    finished = raw.clone()
    finish_ir(finished)
    kinds = {node.get_type_name() for node in finished.get_ordered_ops()}
    assert "TopK" not in kinds
    assert {"ReduceMax", "ReduceMin"} <= kinds
    batch = frames((64, 64), 2)
    np.testing.assert_array_equal(run_openvino(finished, batch), run_openvino(raw, batch))


def test_finishing_leaves_logits_alone(tiny: nn.Module) -> None:
    logits = from_onnx(build_onnx(tiny, "tiny", output="logits"))
    before = len(logits.get_ordered_ops())
    finish_ir(logits)
    assert len(logits.get_ordered_ops()) == before
