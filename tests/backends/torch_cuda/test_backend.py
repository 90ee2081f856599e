"""The fast PyTorch path, run on the CPU: batches in flight, and what goes wrong."""

from __future__ import annotations

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from roadseg.backends.torch.backend import TorchBackend, open_torch_backend
from roadseg.backends.torch_cuda import backend as torch_cuda
from roadseg.backends.torch_cuda.backend import TorchCudaBackend
from roadseg.backends.torch_cuda.ops import TorchOperations
from roadseg.core.backend import PipelinedBackend
from roadseg.core.errors import BackendError
from tests.support.torch_cuda import frames, scores_of


@pytest.fixture
def backend(lite: nn.Module) -> TorchCudaBackend:
    return TorchCudaBackend(lite, (32, 48), name="lite", device="cpu", operations=TorchOperations())


def test_it_gives_the_networks_labels(lite: nn.Module, backend: TorchCudaBackend) -> None:
    assert isinstance(backend, PipelinedBackend)
    assert backend.depth == 2
    assert backend.network_hw == (32, 48)
    info = backend.info
    assert (info.name, info.model, info.precision, info.device) == ("torch", "lite", "fp32", "CPU")
    for count in (1, 3):
        batch = frames(count, (32, 48), seed=count)
        labels = backend.infer(batch)
        assert labels.shape == (count, 32, 48)
        want = scores_of(lite, batch).argmax(1).numpy()
        assert (labels == want).mean() >= 0.999


def test_batches_come_back_in_order_and_belong_to_the_caller(backend: TorchCudaBackend) -> None:
    batches = [frames(count, (32, 48), seed) for seed, count in enumerate((1, 2, 1))]
    want = [backend.infer(batch) for batch in batches]
    results = []
    for batch in batches:
        given = batch.copy()
        backend.submit(given)
        given[:] = 0  # the frames may be overwritten
        if len(backend._in_flight) == backend.depth:
            results.append(backend.collect())
    results.append(backend.collect())
    for got, expected in zip(results, want, strict=True):
        np.testing.assert_array_equal(got, expected)
        got[:] = 7  # writable, and nobody else's


def test_too_many_and_too_few_in_flight(backend: TorchCudaBackend) -> None:
    batch = frames(1, (32, 48))
    with pytest.raises(RuntimeError) as caught:
        backend.collect()
    assert str(caught.value) == "no batch is in flight: submit one first"
    backend.submit(batch)
    with pytest.raises(RuntimeError) as caught:
        backend.infer(batch)
    assert str(caught.value) == "1 batches are in flight: collect them first"
    backend.submit(batch)
    with pytest.raises(RuntimeError) as caught:
        backend.submit(batch)
    assert str(caught.value) == "2 batches are in flight: collect one first"
    np.testing.assert_array_equal(backend.collect(), backend.collect())


def test_batch_sizes_that_are_not_used_are_forgotten(backend: TorchCudaBackend) -> None:
    backend.submit(frames(1, (32, 48)))
    for count in (2, 3, 4, 5, 2):
        backend.submit(frames(count, (32, 48)))
        backend._in_flight.rotate()  # collect the later one, so that the first stays in flight
        assert len(backend.collect()) == count
    assert len(backend._slots) == 4
    assert 1 in backend._slots
    assert len(backend.collect()) == 1


def test_wrong_batches(backend: TorchCudaBackend) -> None:
    with pytest.raises(ValueError) as caught:
        backend.infer(frames(1, (32, 47)))
    assert str(caught.value) == "expected (N, 32, 48, 3) uint8, got (1, 32, 47, 3) uint8"


def test_closing_after_the_gpu_failed_gives_all_back(
    backend: TorchCudaBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_slot: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    for seed in (1, 2):
        backend.submit(frames(1, (32, 48), seed))
    slot = backend._in_flight[0]
    monkeypatch.setattr(type(slot), "wait", fail)
    with pytest.raises(BackendError, match="illegal memory access"):
        backend.collect()
    network = weakref.ref(backend._network)
    backend.close()
    assert not backend._slots
    assert not backend._in_flight
    del slot
    gc.collect()
    assert network() is None


def test_a_closed_backend(backend: TorchCudaBackend) -> None:
    backend.submit(frames(1, (32, 48)))
    backend.close()
    backend.close()
    for call in (lambda: backend.infer(frames(1, (32, 48))), lambda: backend.prepare(1)):
        with pytest.raises(BackendError) as caught:
            call()
        assert str(caught.value) == "the torch backend is closed: create another one"
    assert backend.convolutions() == {}


def test_closing_gives_the_network_back_at_once(backend: TorchCudaBackend) -> None:
    assert backend._network is not None
    network = weakref.ref(backend._network)
    gc.disable()
    try:
        backend.close()
        assert network() is None
    finally:
        gc.enable()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_devices_that_do_not_do(lite: nn.Module) -> None:
    with pytest.raises(BackendError) as caught:
        TorchCudaBackend(lite, (32, 48), name="lite", device="cuda")
    text = str(caught.value)
    assert text.startswith("PyTorch cannot use the device 'cuda' (")
    assert text.endswith("): use cpu")
    assert "\n" not in text
    with pytest.raises(BackendError) as caught:
        TorchCudaBackend(lite, (32, 48), name="lite", device="cpu")
    assert str(caught.value) == (
        "the fast PyTorch path needs a CUDA device, not 'cpu': use the torch backend, or give "
        "operations"
    )


class Failing(TorchOperations):
    """Fails when told to, as PyTorch does."""

    error: Exception | None = None

    def labels(self, *args: object) -> Tensor:
        if self.error is not None:
            raise self.error
        return super().labels(*args)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            RuntimeError("CUDA error: launch failure\nmore"),
            "PyTorch failed while inferring (CUDA error: launch failure): see 'roadseg "
            "doctor', or use another backend",
        ),
        (
            torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "the GPU is out of memory (CUDA out of memory. Tried to allocate 2.00 GiB): use a "
            "smaller size_hw, or close other programs that use it",
        ),
    ],
)
def test_failures_are_translated(lite: nn.Module, error: Exception, text: str) -> None:
    operations = Failing()
    backend = TorchCudaBackend(lite, (32, 48), name="lite", device="cpu", operations=operations)
    operations.error = error
    with pytest.raises(BackendError) as caught:
        backend.infer(frames(1, (32, 48)))
    assert str(caught.value) == text
    operations.error = None
    assert backend.infer(frames(1, (32, 48))).shape == (1, 32, 48)  # nothing is stuck in flight


def test_opening_picks_by_device(pt_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(open_torch_backend(pt_file, (32, 64), device="cpu"), TorchBackend)
    opened = []

    def fast(model: nn.Module, network_hw: tuple[int, int], **options: object) -> str:
        opened.append((network_hw, options))
        return "fast"

    monkeypatch.setattr(torch_cuda, "TorchCudaBackend", fast)
    assert open_torch_backend(pt_file, (32, 64), device="cuda:1") == "fast"
    assert open_torch_backend(pt_file, (32, 64), device="cuda", name="mine") == "fast"
    assert opened == [
        ((32, 64), {"name": "segnet-lite", "device": "cuda:1"}),
        ((32, 64), {"name": "mine", "device": "cuda"}),
    ]


def test_the_fast_path_needs_no_runtime_of_others() -> None:
    code = (
        "import sys, roadseg.backends.torch_cuda.backend\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    loaded = set(done.stdout.split())
    assert "torch" in loaded
    assert not loaded & {"openvino", "av", "onnx", "tensorrt", "typer", "rich", "cv2"}
