"""ArgMax as it is rewritten for OpenVINO gives the labels that it gave before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
import pytest
from openvino import opset13 as ops

from roadseg.backends.openvino.scores import OpenVinoScoringBackend
from roadseg.core.errors import ModelError
from roadseg.export.argmax import _farthest
from roadseg.export.ir import finish_ir, save_ir

Array = npt.NDArray[Any]
Runner = Callable[[Any, Array], Array]

STEP = 1 / 256
"""How far below the highest score that of a label may be."""


@dataclass(frozen=True)
class Head:
    """A transposed convolution on a frame's bytes, and ArgMax behind it.

    Attributes:
        weights: (3, C, K, K) whole numbers, -127 to 127.
        scale: (C,) of the weights.
        bias: (C,).
        zero: of the bytes that are its features.
        feature_scale: of the same.
        stride: of the convolution.
        quantised: which of its two inputs are dequantised ones.
    """

    weights: Array
    scale: Array
    bias: Array
    zero: int = 0
    feature_scale: float = 1 / 64
    stride: int = 2
    quantised: tuple[bool, bool] = (True, True)

    @classmethod
    def random(cls, classes: int, *, block: int = 2, seed: int = 0) -> Head:
        rng = np.random.default_rng(seed)
        return cls(
            rng.integers(-127, 128, (3, classes, block, block)),
            rng.uniform(0.002, 0.01, classes),
            rng.normal(0, 1, classes),
            stride=block,
        )

    def model(self) -> Any:
        """From (N, h, w, 3) uint8 to (N, H, W) uint8 labels by TopK, as OpenVINO reads ONNX."""
        frame = ops.parameter(ov.PartialShape([-1, -1, -1, 3]), np.uint8, name="frame_bgr")
        frame.output(0).set_names({"frame_bgr"})
        planes = ops.transpose(frame, ops.constant(np.array([0, 3, 1, 2])))
        whole = ops.subtract(ops.convert(planes, "f32"), ops.constant(np.float32(self.zero)))
        features = ops.multiply(whole, ops.constant(np.float32(self.feature_scale)))
        if not self.quantised[0]:
            features = ops.relu(features)
        scale = self.scale.astype(np.float32).reshape(1, -1, 1, 1)
        weights = ops.constant(self.weights.astype(np.float32) * scale)
        if self.quantised[1]:
            whole = ops.convert(ops.constant(self.weights.astype(np.int8)), "f32")
            weights = ops.multiply(whole, ops.constant(scale))
        scores = ops.add(
            ops.convolution_backprop_data(features, weights, [self.stride] * 2),
            ops.constant(self.bias.astype(np.float32).reshape(1, -1, 1, 1)),
        )
        best = ops.topk(scores, ops.constant(np.int64(1)), 1, "max", "value", "i64")
        labels = ops.convert(ops.squeeze(best.output(1), ops.constant(np.array([1]))), "u8")
        labels.output(0).set_names({"labels"})
        return ov.Model([labels], [frame], "head")

    def scores(self, frames: Array) -> Array:
        """(N, C, H, W) float64, of blocks that do not overlap."""
        x = (frames.astype(np.float64) - self.zero) * self.feature_scale
        weights = self.weights * self.scale.reshape(1, -1, 1, 1)
        blocks = np.einsum("nhwf,fcyx->nchywx", x, weights)
        n, c, h, y, w, x_ = blocks.shape
        return blocks.reshape(n, c, h * y, w * x_) + self.bias.reshape(1, -1, 1, 1)


def random_frames(seed: int = 1, size_hw: tuple[int, int] = (24, 40)) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (2, *size_hw, 3), dtype=np.uint8)


def finished(head: Head) -> tuple[Any, set[str]]:
    """The rewritten network, and of what kinds its operations are."""
    model = head.model()
    finish_ir(model)
    return model, {node.get_type_name() for node in model.get_ordered_ops()}


def check(head: Head, frames: Array, run_openvino: Runner) -> Array:
    """That labels have the highest score, or one as good as that; what they are."""
    model, kinds = finished(head)
    assert not {"TopK", "ConvolutionBackpropData", "ReduceMin"} & kinds
    labels, scores = run_openvino(model, frames), head.scores(frames)
    assert labels.dtype == np.uint8
    assert labels.shape == (len(frames), *scores.shape[2:])
    assert labels.max() < scores.shape[1]
    own = np.take_along_axis(scores, labels[:, None].astype(np.int64), 1)[:, 0]
    assert (scores.max(1) - own).max() <= STEP
    return labels


@pytest.mark.parametrize("block", [2, 4])
@pytest.mark.parametrize("classes", [1, 2, 11, 16, 37])
def test_labels_have_the_highest_score(classes: int, block: int, run_openvino: Runner) -> None:
    head = Head.random(classes, block=block)
    frames = random_frames()
    labels, expected = check(head, frames, run_openvino), head.scores(frames).argmax(1)
    # Hardly any two scores are nearer to each other than they are rounded.
    assert (labels == expected).mean() > 0.999
    assert len(np.unique(expected)) > min(classes - 1, 3)


def test_features_with_a_zero_point(run_openvino: Runner) -> None:
    check(replace(Head.random(11), zero=117), random_frames(), run_openvino)


def test_of_equal_scores_the_lowest_id_wins(run_openvino: Runner) -> None:
    head = Head.random(11)
    for part in (head.weights[0], head.weights[1], head.weights[2], head.scale, head.bias):
        part[5] = part[7] = part[3]
    head.bias[[3, 5, 7]] += 2
    labels = check(head, random_frames(), run_openvino)
    assert (labels == 3).mean() > 0.1
    assert not np.isin(labels, [5, 7]).any()
    nothing = replace(head, weights=head.weights * 0, bias=head.bias * 0)
    assert not check(nothing, random_frames(), run_openvino).any()


def test_channels_may_have_zero_points_of_their_own() -> None:
    """The farthest that features reach is that of any channel, not of the largest zero point."""
    zero = ops.constant(np.array([0, 128, 255], np.float32).reshape(1, 3, 1, 1))
    whole = ops.convert(ops.parameter([1, 3, 2, 2], np.uint8), "f32")
    features = ops.multiply(ops.subtract(whole, zero), ops.constant(np.float32(0.5)))
    assert _farthest(features.output(0)) == 127.5


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_scores_that_there_can_be(sign: int, run_openvino: Runner) -> None:
    """All bytes and weights at their limits: ids are still told from the rounded scores."""
    classes = 16
    weights = np.full((3, classes, 2, 2), 127 * sign)
    weights[:, 5:] -= 4 * sign  # a little nearer to zero
    head = Head(weights, np.full(classes, 0.01), np.zeros(classes), feature_scale=1.0)
    white = np.full((1, 8, 8, 3), 255, np.uint8)
    labels = check(head, white, run_openvino)
    assert (labels == (0 if sign > 0 else 5)).all()


@pytest.mark.parametrize(
    "head",
    [
        replace(Head.random(11, block=3), stride=2),
        replace(Head.random(11), quantised=(False, True)),
        replace(Head.random(11), quantised=(True, False)),
        # Scores of up to 100,000 leave no room for ids.
        replace(Head.random(11), feature_scale=100.0),
        # Nor do 200 ids leave room for scores.
        replace(Head.random(200), feature_scale=0.5),
    ],
    ids=["overlapping", "float-features", "float-weights", "large-scores", "many-classes"],
)
def test_other_layers_keep_their_scores(head: Head, run_openvino: Runner) -> None:
    model, kinds = finished(head)
    assert {"ConvolutionBackpropData", "ReduceMin"} <= kinds
    frames = random_frames()
    as_it_was = run_openvino(head.model(), frames)
    assert (run_openvino(model, frames) == as_it_was).mean() > 0.999


def test_sizes_stay_open(run_openvino: Runner) -> None:
    head = Head.random(11)
    for size_hw in ((2, 2), (31, 17)):
        check(head, random_frames(size_hw=size_hw), run_openvino)


def test_a_maximum_of_something_else_is_not_taken_for_scores() -> None:
    """A 4-D maximum farther from the labels is one of features."""
    frame = ops.parameter(ov.PartialShape([-1, -1, -1, 3]), np.uint8, name="frame_bgr")
    frame.output(0).set_names({"frame_bgr"})
    planes = ops.convert(ops.transpose(frame, ops.constant(np.array([0, 3, 1, 2]))), "f32")
    peaks = ops.subtract(planes, ops.reduce_max(planes, ops.constant(np.int64(1)), True))
    flat = ops.squeeze(ops.reduce_mean(peaks, ops.constant(np.int64(1)), True), ops.constant([1]))
    rows = ops.reduce_max(flat, ops.constant(np.int64(2)), True)
    labels = ops.convert(ops.equal(flat, rows), "u8")
    labels.output(0).set_names({"labels"})
    model = ov.Model([labels], [frame], "other")
    with pytest.raises(ModelError, match="shows no scores"):
        OpenVinoScoringBackend(model, (32, 64), name="other", precision="fp32", threads=1)


def test_scores_can_still_be_had(tmp_path: Path) -> None:
    head = Head.random(11)
    model, _kinds = finished(head)
    save_ir(model, tmp_path / "head.xml", precision="int8")
    frames = random_frames(size_hw=(32, 64))
    backend = OpenVinoScoringBackend(
        tmp_path / "head.xml", (32, 64), name="head", precision="int8", threads=1
    )
    scores, labels = backend.infer_scores(frames), backend.infer(frames)
    backend.close()
    expected = head.scores(frames)
    np.testing.assert_allclose(scores, expected, atol=1e-4)
    np.testing.assert_array_equal(labels, expected.argmax(1))
