"""The kernels of the plugins: compiled for the GPU and the driver at hand."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from roadseg.backends.device_kernels import LoadedKernels
from roadseg.backends.tensorrt import index_ops
from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins
from roadseg.core.errors import BackendError
from roadseg.kernels.kernels import variants
from roadseg.testing.cuda import SimulatedCuda
from tests.support.tensorrt import plugins as standin
from tests.support.tensorrt.plugging import (
    create,
)

pytestmark = pytest.mark.usefixtures("as_typed")


def test_a_context_without_a_gpu_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def load_cuda() -> Any:
        raise BackendError("no NVIDIA driver")

    monkeypatch.setattr("roadseg.backends.device_kernels.load_cuda", load_cuda)
    monkeypatch.setattr(index_ops.STATE, "kernels", LoadedKernels())
    trt = standin.make("10.3.0")
    register_plugins(trt)
    with pytest.raises(BackendError, match="^no NVIDIA driver$"):
        create(trt, "MaxPoolIndex").attach_to_context(object())
    assert last_plugin_error() == "MaxPoolIndex.attach_to_context: no NVIDIA driver"


def test_kernels_are_compiled_for_the_gpu_at_hand(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []

    def compile_kernels(compute_capability: tuple[int, int], *, text: str | None) -> bytes:
        asked.append(compute_capability)
        return b"simulated"

    monkeypatch.setattr("roadseg.backends.device_kernels.load_cuda", lambda: cuda)
    monkeypatch.setattr("roadseg.backends.device_kernels.compile_kernels", compile_kernels)
    # A newer one of the same major version will do: machine code needs no more.
    monkeypatch.setattr("roadseg.backends.device_kernels.nvrtc_version", lambda: (13, 5))
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(13, 0))
    kernels = LoadedKernels()
    symbol = variants()[0].symbol
    with pytest.raises(RuntimeError, match=f"^{symbol} is wanted before the kernels were loaded$"):
        kernels.kernel(symbol)
    kernels.load()
    kernels.load()
    assert asked == [(8, 9)]
    assert kernels.cuda is cuda
    assert kernels.kernel(symbol).name == symbol


def test_the_compiler_must_not_be_newer_than_the_driver(
    cuda: SimulatedCuda, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compile_kernels(compute_capability: tuple[int, int], *, text: str | None) -> bytes:
        raise AssertionError(f"compiled for {compute_capability}")

    monkeypatch.setattr("roadseg.backends.device_kernels.compile_kernels", compile_kernels)
    monkeypatch.setattr("roadseg.backends.device_kernels.nvrtc_version", lambda: (13, 0))
    cuda.device = dataclasses.replace(cuda.device, driver_cuda=(12, 4))
    with pytest.raises(BackendError) as caught:
        LoadedKernels(cuda).load()
    assert str(caught.value) == (
        "NVRTC 13.0 writes machine code that this driver (CUDA 12.4) cannot load: update the "
        "driver, or pip install 'nvidia-cuda-nvrtc-cu12==12.4.*' 'cuda-bindings<13'"
    )
