"""Class scores of each backend, from which the page draws its curve."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.backend import ScoringBackend
from roadseg.core.errors import ModelError
from roadseg.loading.choice import choose


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_scores_make_the_labels_that_the_backend_gives(backend: str) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    batch = np.stack([cv2.GaussianBlur(frame, (0, 0), 6) for frame in batch])
    scoring = choose("segnet-lite", backend, threads=1).open((64, 96), scores=True)
    plain = choose("segnet-lite", backend, threads=1).open((64, 96))
    assert isinstance(scoring, ScoringBackend)
    assert not isinstance(plain, ScoringBackend)
    assert scoring.info == plain.info
    scores = scoring.infer_scores(batch)
    assert (scores.shape, scores.dtype) == ((2, 11, 64, 96), np.float32)
    labels = scoring.infer(batch)
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    assert (labels == plain.infer(batch)).mean() >= 0.999
    assert len(np.unique(labels)) > 2
    scoring.close()
    plain.close()


def test_scores_of_an_exported_network(tmp_path: Path) -> None:
    import torch

    from roadseg.export.onnx import build_onnx, save_onnx
    from roadseg.models import build_model

    torch.manual_seed(0)
    model = build_model("segnet-lite").eval()
    save_onnx(build_onnx(model, "segnet-lite"), tmp_path / "net.onnx")
    scoring = choose(str(tmp_path / "net.onnx"), threads=1).open((32, 64), scores=True)
    assert isinstance(scoring, ScoringBackend)
    batch = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255).numpy()
    np.testing.assert_allclose(scoring.infer_scores(batch), expected, atol=1e-3, rtol=1e-3)


def test_a_network_that_hides_its_scores(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Slice", ["frame_bgr", "zero", "one", "axis"], ["blue"]),
        helper.make_node("Squeeze", ["blue", "axis"], ["labels"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("zero", 0), ("one", 1), ("axis", 3))
    ]
    shape = ["n", "h", "w", 3]
    graph = helper.make_graph(
        nodes,
        "blue",
        [helper.make_tensor_value_info("frame_bgr", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, shape[:3])],
        constants,
    )
    path = tmp_path / "blue.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    with pytest.raises(ModelError) as error:
        choose(str(path), "openvino").open((32, 64), scores=True)
    assert str(error.value) == (
        f"{path} picks its classes in a way that shows no scores: write it again with "
        "'roadseg export', or use backend=\"torch\""
    )


def test_backends_that_hold_labels_only() -> None:
    assert not isinstance(choose("x", "fake").open((32, 32)), ScoringBackend)
