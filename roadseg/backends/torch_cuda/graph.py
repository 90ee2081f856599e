"""One batch of frames through a network on a device: staged, captured once, replayed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from roadseg.backends.torch_cuda.layers import Convolution, Timer

_WARM_UPS = 3
_TIMED_CALLS = 10


class Slot(Protocol):
    """Staging memory for one batch, and the work on it."""

    @property
    def frames(self) -> npt.NDArray[np.uint8]:
        """(N, H, W, 3) uint8, to be written before `start`."""

    @property
    def labels(self) -> npt.NDArray[np.uint8]:
        """(N, H, W) uint8, to be read after `wait`."""

    def start(self) -> None:
        """Begin upload, network and download; may return before they are done."""

    def wait(self) -> None:
        """Return when they are done."""


class EagerSlot:
    """Runs the network at once, without a graph: on the CPU."""

    def __init__(self, network: nn.Module, count: int, size_hw: tuple[int, int]) -> None:
        self.frames = np.zeros((count, *size_hw, 3), np.uint8)
        self.labels = np.zeros((count, *size_hw), np.uint8)
        self._network = network

    def start(self) -> None:
        """See `Slot.start`."""
        with torch.inference_mode():
            self.labels[:] = self._network(torch.from_numpy(self.frames)).numpy()

    def wait(self) -> None:
        """Nothing to wait for."""


class GraphSlot:
    """Upload, network and download of one batch as one CUDA graph on a stream of its own.

    Frames and labels lie in page-locked memory, so that the copies are part of the graph and the
    graphs of two slots overlap.

    Args:
        network: on the device; takes (N, H, W, 3) uint8, gives (N, H, W) uint8.
        count: frames of a batch.
        size_hw: height and width of a frame.
        device: a CUDA device.
    """

    def __init__(
        self, network: nn.Module, count: int, size_hw: tuple[int, int], device: torch.device
    ) -> None:
        self._host_frames = torch.zeros((count, *size_hw, 3), dtype=torch.uint8, pin_memory=True)
        self._host_labels = torch.zeros((count, *size_hw), dtype=torch.uint8, pin_memory=True)
        self.frames: npt.NDArray[np.uint8] = self._host_frames.numpy()
        self.labels: npt.NDArray[np.uint8] = self._host_labels.numpy()
        self._network = network
        self._device = device
        cuda: Any = torch.cuda  # its types are not told
        with cuda.device(device):
            self._stream, self._done, self._graph = cuda.Stream(), cuda.Event(), cuda.CUDAGraph()
        with torch.cuda.device(device), torch.inference_mode():
            self._stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(self._stream):
                # Algorithms are chosen and libraries loaded now: neither may happen in a capture.
                for _ in range(_WARM_UPS):
                    self._work()
            self._stream.synchronize()
            with torch.cuda.graph(self._graph, stream=self._stream):
                self._work()

    def _work(self) -> None:
        frames = self._host_frames.to(self._device, non_blocking=True)
        self._host_labels.copy_(self._network(frames), non_blocking=True)

    def start(self) -> None:
        """See `Slot.start`."""
        with torch.cuda.stream(self._stream):
            self._graph.replay()
            self._done.record(self._stream)

    def wait(self) -> None:
        """See `Slot.wait`."""
        self._done.synchronize()


@contextmanager
def fastest_algorithms() -> Iterator[None]:
    """Within, cuDNN measures its algorithms at each shape's first call, and keeps the fastest."""
    cudnn: Any = torch.backends.cudnn
    before = cudnn.benchmark
    cudnn.benchmark = True
    try:
        yield
    finally:
        cudnn.benchmark = before


@contextmanager
def capture(graph: Any) -> Iterator[None]:
    """Capture the current stream, which is not the default one, into a `torch.cuda.CUDAGraph`.

    `torch.cuda.graph` collects garbage and empties PyTorch's cache first, since freeing memory
    breaks a capture; that is too slow for hundreds of captures. Here, garbage has to wait.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        graph.capture_begin()
        try:
            yield
        finally:
            graph.capture_end()
    finally:
        if collects:
            gc.enable()


def graph_time_ms(run: Callable[[], Tensor]) -> float:
    """Milliseconds of one call on the current CUDA device, launches left out of account.

    Timed as replays of a graph of several calls: at these sizes a plain loop would measure how fast
    Python launches.
    """
    cuda: Any = torch.cuda
    stream, graph = cuda.Stream(), cuda.CUDAGraph()
    start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
    stream.wait_stream(cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(_WARM_UPS):
            run()
        stream.synchronize()
        with capture(graph):
            for _ in range(_TIMED_CALLS):
                run()
        graph.replay()
        start.record(stream)
        graph.replay()
        end.record(stream)
    end.synchronize()
    elapsed_ms: float = start.elapsed_time(end)
    return elapsed_ms / _TIMED_CALLS


def tune(network: nn.Module, frames: Tensor, timer: Timer) -> dict[str, str]:
    """Let every convolution measure its ways on these frames, and keep the fastest.

    Args:
        network: a result of `rewrite`, on its device.
        frames: (N, H, W, 3) uint8 on that device; not all the same, or comparing says nothing.
        timer: measures one call.

    Returns:
        The way that each convolution took, by name.
    """
    layers = {
        name: layer for name, layer in network.named_modules() if isinstance(layer, Convolution)
    }
    for layer in layers.values():
        layer.timer = timer
    try:
        with torch.inference_mode():
            network(frames)
    finally:
        for layer in layers.values():
            layer.timer = None
    return {name: layer.way for name, layer in layers.items()}
