"""The PyTorch backend."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from roadseg.backends.torch.backend import TorchBackend, full_fp32
from roadseg.core.errors import BackendError, ModelError
from roadseg.models import load_weights


def frames(size_hw: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (2, *size_hw, 3), dtype=np.uint8)


def test_it_is_the_network(pt_file: Path) -> None:
    batch = frames((45, 60))  # any size: PyTorch is the reference
    network, _meta = load_weights(pt_file)
    with torch.inference_mode():
        scores = network(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255)
    expected = scores.argmax(1).numpy()
    labels = TorchBackend(pt_file, (45, 60), device="cpu").infer(batch)
    # channels-last convolutions add up in another order than planar ones
    assert (labels == expected).mean() >= 0.995


def test_info(pt_file: Path) -> None:
    count = torch.get_num_threads()
    try:
        backend = TorchBackend(pt_file, (32, 32), threads=1, device="cpu")
        assert backend.info.device == "CPU (1 thread)"
    finally:
        torch.set_num_threads(count)
    assert (backend.info.name, backend.info.precision) == ("torch", "fp32")
    assert backend.info.model == "segnet-lite"
    assert TorchBackend(pt_file, (32, 32), name="mine").info.model == "mine"


def test_fp32_is_not_shortened_to_tf32() -> None:
    convolutions = torch.backends.cudnn.conv
    before = convolutions.fp32_precision
    try:
        # PyTorch's default; what ran before in this process may have set another.
        convolutions.fp32_precision = "tf32"
        with full_fp32(torch.device("cuda")):
            assert convolutions.fp32_precision == "ieee"
        assert convolutions.fp32_precision == "tf32"
        with full_fp32(torch.device("cpu")):
            assert convolutions.fp32_precision == "tf32"
    finally:
        convolutions.fp32_precision = before


def test_a_closed_backend(pt_file: Path) -> None:
    backend = TorchBackend(pt_file, (32, 32))
    backend.close()
    backend.close()
    with pytest.raises(BackendError) as caught:
        backend.infer(frames((32, 32)))
    assert str(caught.value) == "the torch backend is closed: create another one"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_an_absent_device(pt_file: Path) -> None:
    with pytest.raises(BackendError) as caught:
        TorchBackend(pt_file, (32, 32), device="cuda")
    text = str(caught.value)
    assert text.startswith("PyTorch cannot use the device 'cuda' (")
    assert text.endswith("): use cpu")
    assert "\n" not in text


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu(pt_file: Path) -> None:
    batch = frames((64, 96))
    expected = TorchBackend(pt_file, (64, 96), device="cpu").infer(batch)
    labels = TorchBackend(pt_file, (64, 96), device="cuda").infer(batch)
    assert (labels == expected).mean() >= 0.98


def test_damaged_weights(tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match=r"broken\.safetensors is not a roadseg weights file: "):
        TorchBackend(path, (32, 32))


def test_missing_pytorch(monkeypatch: pytest.MonkeyPatch, pt_file: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(BackendError) as caught:
        TorchBackend(pt_file, (32, 32))
    assert str(caught.value) == (
        "the torch backend needs PyTorch, which cannot be loaded (import of torch halted; None in "
        "sys.modules): pip install 'roadseg[train]'"
    )


def test_a_runtime_failure_is_translated(pt_file: Path) -> None:
    backend = TorchBackend(pt_file, (32, 32), device="cpu")

    def fail(_x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("out of memory\ntraceback of the kernel")

    backend._model = fail
    with pytest.raises(BackendError) as caught:
        backend.infer(frames((32, 32)))
    assert str(caught.value) == (
        "PyTorch failed while inferring (out of memory): use a smaller size_hw, or another backend"
    )
