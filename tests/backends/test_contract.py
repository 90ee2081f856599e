"""What every backend promises; see `roadseg.core.backend`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from roadseg.backends.fake import FakePipelinedBackend
from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.backends.torch_cuda.backend import TorchCudaBackend
from roadseg.backends.torch_cuda.ops import TorchOperations
from roadseg.core.backend import Backend, PipelinedBackend, ScoringBackend
from roadseg.core.labels import NUM_CLASSES
from roadseg.loading.choice import choose
from roadseg.models import load_weights
from roadseg.testing.cuda import SimulatedCuda

SIZE_HW = (64, 96)
SCORING = ("openvino-scores", "torch-scores")
TENSORRT = {"tensorrt": (1, 1), "tensorrt-batch": (4, 4), "tensorrt-dynamic": (1, 2)}


def open_tensorrt(rig: Any, folder: Path, batches: tuple[int, int]) -> TensorRtBackend:
    cuda = SimulatedCuda()
    trt, _world = rig.make(cuda)
    engine = rig.engine_file(folder / "lite.engine", rig.plan(batches, SIZE_HW))
    return TensorRtBackend(engine, runtime=rig.runtime(trt, "tensorrt"), cuda=cuda)


OTHERS = (
    "openvino",
    "openvino-pipelined",
    "torch",
    "fake",
    "fake-pipelined",
    "torch-cuda",
    *SCORING,
)


@pytest.fixture(scope="module", params=[*OTHERS, *TENSORRT])
def backend(
    request: pytest.FixtureRequest,
    xml_file: Path,
    pt_file: Path,
    rig: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Backend]:
    running: Backend
    if request.param in TENSORRT:
        folder = tmp_path_factory.mktemp("engines")
        running = open_tensorrt(rig, folder, TENSORRT[request.param])
    elif request.param == "torch-cuda":
        # The path of GPUs, with its kernels' stand-ins in PyTorch.
        module, _ = load_weights(pt_file)
        running = TorchCudaBackend(
            module, SIZE_HW, name="lite", device="cpu", operations=TorchOperations()
        )
    elif request.param in SCORING:
        runtime = request.param.partition("-")[0]
        model = {"openvino": str(xml_file), "torch": str(pt_file)}[runtime]
        running = choose(model, runtime, threads=1).open(SIZE_HW, scores=True)
    elif request.param == "openvino-pipelined":
        choice = replace(choose(str(xml_file), "openvino", threads=2), throughput=True)
        running = choice.open(SIZE_HW)
    elif request.param == "fake-pipelined":
        running = FakePipelinedBackend(SIZE_HW)
    else:
        model = {"openvino": str(xml_file), "torch": str(pt_file), "fake": "none"}[request.param]
        running = choose(model, request.param, threads=1).open(SIZE_HW)
    yield running
    running.close()


@pytest.fixture
def pipelined(backend: Backend) -> PipelinedBackend:
    if not isinstance(backend, PipelinedBackend):
        pytest.skip("one batch at a time")
    return backend


def batch(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (count, *SIZE_HW, 3), dtype=np.uint8)


def test_it_is_a_backend(backend: Backend) -> None:
    assert isinstance(backend, Backend)
    assert backend.network_hw == SIZE_HW
    assert backend.info.name in ("openvino", "torch", "fake", "tensorrt")
    assert all((backend.info.model, backend.info.precision, backend.info.device))


@pytest.mark.parametrize("count", [1, 3])
def test_a_batch(backend: Backend, count: int) -> None:
    labels = backend.infer(batch(count))
    assert labels.shape == (count, *SIZE_HW)
    assert labels.dtype == np.uint8
    assert labels.max() < NUM_CLASSES


def test_frames_of_a_batch_do_not_mix(backend: Backend) -> None:
    frames = batch(3)
    together = backend.infer(frames)
    for position in range(3):
        alone = backend.infer(frames[position : position + 1])
        # Batched convolutions may add up in another order.
        assert (alone[0] == together[position]).mean() > 0.995


def test_the_result_belongs_to_the_caller(backend: Backend) -> None:
    first = backend.infer(batch(1, seed=1))
    kept = first.copy()
    backend.infer(batch(1, seed=2))
    np.testing.assert_array_equal(first, kept)
    first[:] = 7  # writable


def test_the_frame_may_be_a_read_only_view(backend: Backend) -> None:
    wide = np.concatenate([batch(1), batch(1)], axis=2)
    view = wide[:, :, : SIZE_HW[1]]
    view.flags.writeable = False
    np.testing.assert_array_equal(backend.infer(view), backend.infer(batch(1)))


def test_equal_frames_give_equal_labels(backend: Backend) -> None:
    np.testing.assert_array_equal(backend.infer(batch(1)), backend.infer(batch(1)))


@pytest.mark.parametrize(
    ("frames", "got"),
    [
        (np.zeros((1, 64, 95, 3), np.uint8), "(1, 64, 95, 3) uint8"),
        (np.zeros((64, 96, 3), np.uint8), "(64, 96, 3) uint8"),
        (np.zeros((1, 64, 96, 3), np.float32), "(1, 64, 96, 3) float32"),
        (np.zeros((1, 64, 96), np.uint8), "(1, 64, 96) uint8"),
    ],
)
def test_wrong_batches(backend: Backend, frames: np.ndarray, got: str) -> None:
    with pytest.raises(ValueError) as caught:
        backend.infer(frames)
    assert str(caught.value) == f"expected (N, 64, 96, 3) uint8, got {got}"


# What scoring backends promise besides.


def test_the_label_is_the_class_of_the_highest_score(backend: Backend) -> None:
    if not isinstance(backend, ScoringBackend):
        pytest.skip("labels alone")
    frames = batch(3)
    scores = backend.infer_scores(frames)
    assert scores.shape == (3, NUM_CLASSES, *SIZE_HW)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    # Before softmax: they are not shares of one.
    assert scores.min() < 0
    np.testing.assert_array_equal(scores.argmax(axis=1), backend.infer(frames))
    kept = scores.copy()
    backend.infer_scores(batch(3, seed=9))
    np.testing.assert_array_equal(scores, kept)


def test_a_batch_of_no_frames_has_no_scores(backend: Backend) -> None:
    if not isinstance(backend, ScoringBackend):
        pytest.skip("labels alone")
    assert backend.infer_scores(batch(0)).shape == (0, NUM_CLASSES, *SIZE_HW)
    assert backend.infer(batch(0)).shape == (0, *SIZE_HW)


def test_scores_of_wrong_batches(backend: Backend) -> None:
    if not isinstance(backend, ScoringBackend):
        pytest.skip("labels alone")
    with pytest.raises(ValueError, match=r"^expected \(N, 64, 96, 3\) uint8, got "):
        backend.infer_scores(np.zeros((1, 64, 95, 3), np.uint8))


def test_all_scoring_backends_are_among_them(backend: Backend, request: Any) -> None:
    name = request.node.callspec.params["backend"]
    assert isinstance(backend, ScoringBackend) == (name in SCORING)


# What pipelined backends promise besides.


def test_results_come_in_the_order_of_submission(pipelined: PipelinedBackend) -> None:
    sizes = [1, 3, 2, 1, 1, 5, 1]
    expected = [pipelined.infer(batch(count, seed)) for seed, count in enumerate(sizes)]
    results = []
    for seed, count in enumerate(sizes):
        if seed >= pipelined.depth:
            results.append(pipelined.collect())
        frames = batch(count, seed)
        pipelined.submit(frames)
        frames[:] = 0  # the backend has taken what it needs
    results += [pipelined.collect() for _ in range(pipelined.depth)]
    for result, wanted in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result, wanted)


def test_no_more_than_depth_batches_are_in_flight(pipelined: PipelinedBackend) -> None:
    depth = pipelined.depth
    assert depth >= 2
    for seed in range(depth):
        pipelined.submit(batch(1, seed))
    with pytest.raises(RuntimeError, match=f"^{depth} batches are in flight: collect one first$"):
        pipelined.submit(batch(1))
    with pytest.raises(RuntimeError, match=f"^{depth} batches are in flight: collect them first$"):
        pipelined.infer(batch(1))
    for _ in range(depth):
        pipelined.collect()
    with pytest.raises(RuntimeError, match="^no batch is in flight: submit one first$"):
        pipelined.collect()


def test_a_refused_batch_is_not_in_flight(pipelined: PipelinedBackend) -> None:
    with pytest.raises(ValueError, match="^expected "):
        pipelined.submit(np.zeros((1, 2, 3, 4), np.uint8))
    with pytest.raises(RuntimeError, match="^no batch is in flight"):
        pipelined.collect()
