"""The TensorRT backend on a GPU: what no simulation can settle."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roadseg.backends.gpu import has_nvidia_driver, shared_cuda
from roadseg.backends.tensorrt.backend import TensorRtBackend
from roadseg.backends.tensorrt.builder.build_engine import build_engine
from roadseg.backends.tensorrt.builder.compile import choose_sm
from roadseg.backends.torch.backend import TorchBackend
from roadseg.core.errors import RoadsegError
from roadseg.cuda.api import Cuda
from roadseg.engine.runtime import TARGETS, Runtime, load_runtime
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import EngineFile
from roadseg.weights import resolve_model

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not has_nvidia_driver(), reason="no NVIDIA driver"),
]

SIZE_HW = (360, 480)  # no multiple of 32: every odd level occurs


@pytest.fixture(scope="module")
def cuda() -> Cuda:
    try:
        return shared_cuda()
    except RoadsegError as exc:
        pytest.skip(str(exc))


@pytest.fixture(scope="module", params=TARGETS)
def runtime(request: pytest.FixtureRequest, cuda: Cuda) -> Runtime:
    try:
        loaded = load_runtime(request.param)
        if loaded.target == "tensorrt-rtx":
            choose_sm((), loaded, cuda.device)
    except RoadsegError as exc:
        pytest.skip(str(exc))
    return loaded


def build(runtime: Runtime, folder: Path, batch: tuple[int, int, int]) -> EngineFile:
    spec = EngineSpec("segnet-lite", "fp16", SIZE_HW, batch, runtime.target, "native")
    if runtime.target == "tensorrt":
        spec = replace(spec, lowering="plugin")
    return build_engine(spec, output=folder, runtime=runtime)


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (8, *SIZE_HW, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=[(1, 1, 1), (1, 4, 4)], ids=["one", "dynamic"])
def backend(
    request: pytest.FixtureRequest,
    runtime: Runtime,
    cuda: Cuda,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[TensorRtBackend]:
    engine = build(runtime, tmp_path_factory.mktemp("engines"), request.param)
    running = TensorRtBackend(engine, runtime=runtime, cuda=cuda)
    yield running
    running.close()


def test_labels_are_pytorchs(backend: TensorRtBackend, frames: np.ndarray) -> None:
    weights = resolve_model("segnet-lite", "torch").path
    reference = TorchBackend(weights, SIZE_HW, device="cpu").infer(frames[:2])
    # FP16 against FP32 on noise, where many pixels are close calls.
    assert (backend.infer(frames[:2]) == reference).mean() >= 0.97


def test_a_cuda_graph_is_used(backend: TensorRtBackend, cuda: Cuda) -> None:
    assert backend.info.device == cuda.device.name


def test_batches_in_flight_are_those_alone(backend: TensorRtBackend, frames: np.ndarray) -> None:
    alone = [backend.infer(frames[i : i + 1])[0] for i in range(8)]
    together = backend.infer(frames)
    in_flight = []
    for i in range(8):
        backend.submit(frames[i : i + 1])
        if i >= 1:
            in_flight.append(backend.collect()[0])
    in_flight.append(backend.collect()[0])
    for i in range(8):
        np.testing.assert_array_equal(in_flight[i], alone[i])
        # Another batch size may take other kernels.
        assert (together[i] == alone[i]).mean() >= 0.99


def test_frames_allocate_nothing(backend: TensorRtBackend, cuda: Cuda, frames: np.ndarray) -> None:
    backend.infer(frames)
    before = cuda.memory_info()[0]
    for _ in range(20):
        backend.infer(frames)
    assert cuda.memory_info()[0] == before


def test_memory_is_given_back(runtime: Runtime, cuda: Cuda, tmp_path: Path) -> None:
    engine = build(runtime, tmp_path, (1, 1, 1))

    def once() -> int:
        backend = TensorRtBackend(engine, runtime=runtime, cuda=cuda)
        backend.infer(np.zeros((1, *SIZE_HW, 3), np.uint8))
        backend.close()
        return cuda.memory_info()[0]

    once()  # modules stay loaded
    second = once()
    assert once() >= second - 2**20
