"""PyTorch on a CUDA GPU, fast: FP16, roadseg's kernels, a CUDA graph, two batches in flight.

What runs where TensorRT is not installed. See `torch_cuda_rewrite` for what becomes of the network.
"""

from __future__ import annotations

import contextlib
import gc
from collections import OrderedDict, deque
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from roadseg.backends.torch_cuda.graph import (
    EagerSlot,
    GraphSlot,
    Slot,
    fastest_algorithms,
    graph_time_ms,
    tune,
)
from roadseg.backends.torch_cuda.kernels import KernelOperations, open_operations
from roadseg.backends.torch_cuda.layers import Convolution
from roadseg.backends.torch_cuda.ops import Operations
from roadseg.backends.torch_cuda.rewrite import rewrite
from roadseg.core.backend import BackendInfo, check_batch
from roadseg.core.errors import BackendError, first_line
from roadseg.core.wording import option

# A stream has one batch size, and its last batch may be smaller.
_MAX_BATCH_SIZES = 4


class TorchCudaBackend:
    """A network as CUDA graphs, one pair for each batch size that comes.

    Args:
        model: takes (N, 3, H, W) float BGR in 0..1, gives (N, classes, H, W) scores; not changed.
        network_hw: height and width of the input; any size that the network takes.
        name: the model's name, for reports.
        device: `cuda`, `cuda:1`...; `cpu` runs the same network in FP32 without graphs, for tests.
        depth: batches in flight at most.
        operations: for pools, unpools, frames and labels; default: roadseg's kernels if they can be
            compiled and loaded, else PyTorch's own.

    Attributes:
        notes: what is not as fast as it could be, and why.
        ways: the way that each convolution took, for the batch size prepared last.

    Raises:
        BackendError: PyTorch has no such device, or too little memory is free on it.
        ModelError: the network cannot take that size.
    """

    def __init__(
        self,
        model: nn.Module,
        network_hw: tuple[int, int],
        *,
        name: str,
        device: str = "cuda",
        depth: int = 2,
        operations: Operations | None = None,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self.ways: dict[str, str] = {}
        self.network_hw = network_hw
        self.depth = depth
        self._slots: OrderedDict[int, list[Slot]] = OrderedDict()
        self._in_flight: deque[Slot] = deque()
        self._network: nn.Module | None = None
        self._device = torch.device(device)
        on_gpu = self._device.type == "cuda"
        try:
            if on_gpu:
                # The number is what CUDA wants; `cuda` alone means the current device.
                current = self._device.index
                index = torch.cuda.current_device() if current is None else current
                self._device = torch.device("cuda", index)
                torch.zeros(1, device=self._device)
                if operations is None:
                    operations, why = open_operations(index)
                    if why:
                        self.notes = (f"pooling runs on PyTorch's own operations: {why}",)
            elif operations is None:
                raise BackendError(
                    f"the fast PyTorch path needs a CUDA device, not {device!r}",
                    fix="use the torch backend, or give operations",
                )
        except (RuntimeError, AssertionError) as exc:
            raise BackendError(
                f"PyTorch cannot use the device {device!r} ({first_line(exc)})", fix="use cpu"
            ) from exc
        self._operations = operations
        where = torch.cuda.get_device_name(self._device) if on_gpu else "CPU"
        self.info = BackendInfo("torch", name, "fp16" if on_gpu else "fp32", str(where))
        network: Any = rewrite(model, network_hw, operations)
        with _Translated():
            self._network = network.to(
                device=self._device,
                dtype=torch.float16 if on_gpu else torch.float32,
                memory_format=torch.channels_last,
            )
            self._prepare(1)

    def prepare(self, count: int) -> None:
        """Capture the graphs for batches of `count` frames now, rather than at the first batch.

        Raises:
            BackendError: PyTorch failed, for example for lack of memory, or the backend is closed.
        """
        self._check_open()
        with _Translated():
            self._prepare(count)

    def slot(self, count: int) -> Slot:
        """Staging memory and graph for a batch size, for benchmarks; with nothing in flight.

        Raises:
            BackendError: see `prepare`.
        """
        self.prepare(count)
        return self._slots[count][0]

    def convolutions(self) -> dict[str, Convolution]:
        """The network's convolutions by name, with what `tune` measured, for reports."""
        layers = [] if self._network is None else list(self._network.named_modules())
        return {name: layer for name, layer in layers if isinstance(layer, Convolution)}

    def submit(self, batch_bgr: npt.NDArray[np.uint8]) -> None:
        """See `PipelinedBackend.submit`."""
        check_batch(batch_bgr, self.network_hw)
        self._check_open()
        if len(self._in_flight) >= self.depth:
            raise RuntimeError(f"{self.depth} batches are in flight: collect one first")
        with _Translated():
            slots = self._prepare(len(batch_bgr))
            slot = next(each for each in slots if each not in self._in_flight)
            slot.frames[:] = batch_bgr
            slot.start()
        self._in_flight.append(slot)

    def collect(self) -> npt.NDArray[np.uint8]:
        """See `PipelinedBackend.collect`."""
        if not self._in_flight:
            raise RuntimeError("no batch is in flight: submit one first")
        slot = self._in_flight.popleft()
        with _Translated():
            slot.wait()
        return slot.labels.copy()

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`.

        Raises:
            ValueError: the batch has another shape or dtype.
            RuntimeError: batches are in flight.
            BackendError: PyTorch failed, for example for lack of memory, or the backend is closed.
        """
        if self._in_flight:
            raise RuntimeError(f"{len(self._in_flight)} batches are in flight: collect them first")
        self.submit(batch_bgr)
        return self.collect()

    def close(self) -> None:
        """Give the network and its memory back; a second call does nothing."""
        while self._in_flight:
            with contextlib.suppress(RuntimeError):  # of a GPU that failed nothing will come
                self._in_flight.popleft().wait()
        self._slots.clear()
        if self._network is not None:
            self._network = None
            # A traced network and its graph refer to each other: without this its weights would
            # stay on the device until Python happens to look for such rings.
            gc.collect()

    def _check_open(self) -> None:
        if self._network is None:
            raise BackendError("the torch backend is closed", fix="create another one")

    def _prepare(self, count: int) -> list[Slot]:
        if count in self._slots:
            self._slots.move_to_end(count)
            return self._slots[count]
        network = self._network
        assert network is not None
        idle = [c for c, slots in self._slots.items() if not {*slots} & {*self._in_flight}]
        for oldest in idle[: max(len(self._slots) - _MAX_BATCH_SIZES + 1, 0)]:
            del self._slots[oldest]
        if self._device.type == "cuda":
            if isinstance(self._operations, KernelOperations):
                self._operations.make_current()
            with torch.cuda.device(self._device), fastest_algorithms():
                self.ways = tune(network, self._noise(count), graph_time_ms)
                self._slots[count] = [
                    GraphSlot(network, count, self.network_hw, self._device)
                    for _ in range(self.depth)
                ]
        else:
            self._slots[count] = [
                EagerSlot(network, count, self.network_hw) for _ in range(self.depth)
            ]
        return self._slots[count]

    def _noise(self, count: int) -> torch.Tensor:
        shape = (count, *self.network_hw, 3)
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=self._device)


class _Translated(AbstractContextManager[None]):
    """PyTorch's errors as one line."""

    def __exit__(self, kind: Any, exc: BaseException | None, trace: Any) -> None:
        if isinstance(exc, torch.cuda.OutOfMemoryError):
            raise BackendError(
                f"the GPU is out of memory ({first_line(exc)})",
                fix=f"use a smaller {option('--size')}, or close other programs that use it",
            ) from exc
        if isinstance(exc, RuntimeError):
            raise BackendError(
                f"PyTorch failed while inferring ({first_line(exc)})",
                fix=f"see 'roadseg doctor', or use another {option('--backend')}",
            ) from exc
