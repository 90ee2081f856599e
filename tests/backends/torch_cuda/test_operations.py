"""The kernels, compiled as C++, do what PyTorch's operations do."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from roadseg.backends.torch_cuda.kernels import KernelOperations, open_operations, variant_for
from roadseg.backends.torch_cuda.ops import FRAME_SCALE, ResponseNorm, TorchOperations
from roadseg.backends.torch_cuda.rewrite import rewrite
from roadseg.core.errors import BackendError
from roadseg.testing.cuda import SimulatedCuda
from tests.support.torch_cuda import SIZE_HW, frames, scores_of


@pytest.fixture(scope="module")
def kernels() -> KernelOperations:
    if shutil.which("g++") is None:
        pytest.skip("needs g++")
    from roadseg.testing.host_kernels import host_frame_kernels, host_kernels

    cuda = SimulatedCuda({**host_kernels(), **host_frame_kernels()})
    return KernelOperations(cuda, b"compiled as C++", b"compiled as C++")


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize("shape", [(2, 64, 45, 60), (1, 24, 7, 5), (1, 11, 6, 8), (1, 8, 1, 1)])
def test_kernels_pool_and_unpool_as_pytorch_does(
    kernels: KernelOperations, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    plain = TorchOperations()
    # Few values: most windows have ties.
    x = torch.from_numpy(np.random.default_rng(0).integers(-2, 3, shape)).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last)
    y, index = kernels.pool(x)
    want, places = plain.pool(x.float())
    torch.testing.assert_close(y.float(), want, rtol=0, atol=0)
    again = kernels.unpool(y * 2, index, shape[2:])
    torch.testing.assert_close(
        again.float(), plain.unpool(want * 2, places, shape[2:]), rtol=0, atol=0
    )


def test_channels_last_stays_channels_last(kernels: KernelOperations) -> None:
    x = torch.randn(2, 32, 9, 10).half().contiguous(memory_format=torch.channels_last)
    y, index = kernels.pool(x)
    again = kernels.unpool(y, index, (9, 10))
    for result in (y, again):
        assert result.is_contiguous(memory_format=torch.channels_last)
    assert variant_for("pool", torch.float16, 32).symbol == "roadseg_pool_fp16_hwc8_hwc16"
    assert variant_for("unpool", torch.float32, 32).symbol == "roadseg_unpool_fp32_linear_linear"


def test_a_dtype_without_kernels(kernels: KernelOperations) -> None:
    with pytest.raises(BackendError) as caught:
        kernels.pool(torch.zeros(1, 8, 4, 4, dtype=torch.bfloat16))
    assert str(caught.value) == "no kernel takes torch.bfloat16: use FP16 or FP32"


@pytest.mark.parametrize("norm", [None, ResponseNorm(5, 1e-4, 0.75, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_kernels_take_frames_as_pytorch_does(
    kernels: KernelOperations, norm: ResponseNorm | None, dtype: torch.dtype
) -> None:
    batch = torch.from_numpy(frames(2))
    got = kernels.frame(batch, 8, dtype, norm)
    want = TorchOperations().frame(batch, 8, torch.float32, norm)
    assert got.dtype == dtype
    assert got.shape == (2, 8, *SIZE_HW)
    assert got.is_contiguous(memory_format=torch.channels_last)
    assert not got[:, 3:].any()
    torch.testing.assert_close(got.float(), want, rtol=6e-4, atol=0)
    if norm is None:
        raw = batch.permute(0, 3, 1, 2).float()
        assert torch.equal(got[:, :3].float(), raw * FRAME_SCALE)


def test_the_response_norm_is_the_layers() -> None:
    layer = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75)
    batch = torch.from_numpy(frames(2))
    norm = ResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)
    got = TorchOperations().frame(batch, 8, torch.float32, norm)
    want = layer(batch.permute(0, 3, 1, 2).float())
    torch.testing.assert_close(got[:, :3], want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("channels", "block", "out_hw"), [(16, 1, (5, 7)), (48, 2, (9, 14))])
def test_kernels_label_as_pytorch_does(
    kernels: KernelOperations, channels: int, block: int, out_hw: tuple[int, int]
) -> None:
    scores = torch.randint(-2, 3, (2, channels, 5, 7)).half()
    got = kernels.labels(scores, 11, block, out_hw)
    want = TorchOperations().labels(scores.float(), 11, block, out_hw)
    assert got.dtype == torch.uint8
    assert torch.equal(got, want)


def test_a_whole_network_in_fp16_on_the_kernels(lite: nn.Module, kernels: KernelOperations) -> None:
    batch = torch.from_numpy(frames(2, (32, 48)))
    want = scores_of(lite, batch.numpy()).argmax(1)
    network = rewrite(lite, (32, 48), kernels).half().to(memory_format=torch.channels_last)
    with torch.inference_mode():
        labels = network(batch)
    # Random weights leave many pixels between two classes.
    assert (labels == want).float().mean() >= 0.97


def test_without_cuda_pytorchs_own_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_index: int = 0) -> None:
        raise BackendError("no driver", fix="install one")

    monkeypatch.setattr("roadseg.cuda.load.load_cuda", missing)
    operations, why = open_operations(0)
    assert type(operations) is TorchOperations
    assert why == "no driver: install one"


def test_kernels_are_not_compiled_by_a_compiler_newer_than_the_driver(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cuda = SimulatedCuda()
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(12, 4))
    monkeypatch.setattr("roadseg.backends.device_kernels.nvrtc_version", lambda: (13, 0))
    with pytest.raises(BackendError, match=r"^NVRTC 13\.0 writes machine code that this driver"):
        KernelOperations.compiled(cuda)
