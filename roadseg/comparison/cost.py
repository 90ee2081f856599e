"""What a network costs: parameters, time forward and backward, memory, size of its file."""

from __future__ import annotations

import gc
import io
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from roadseg.backends.torch.backend import full_fp32
from roadseg.core.errors import BackendError, UsageError, first_line
from roadseg.core.wording import option
from roadseg.models import build_model
from roadseg.training.limits import is_out_of_memory

MB = 1e6

TRAINING_BATCH = 4
"""Images at a time when the memory for training is measured, as in the paper's table 6."""


@dataclass(frozen=True)
class Cost:
    """Costs of one network in FP32 on images of one size, one at a time unless noted.

    Attributes:
        parameters_m: trained numbers, in millions.
        forward_ms: median time of a forward pass in inference mode.
        backward_ms: median time of a backward pass, the forward pass before it not counted.
        training_mb: peak of tensors during forward and backward of `TRAINING_BATCH` images,
            weights and gradients included, the optimiser's state not.
        inference_mb: peak of tensors during a forward pass, weights included.
        model_mb: size of the weights' file in FP32, as the paper's were.
        memory_by: how memory was measured: `cuda` or `tensors`.
    """

    parameters_m: float
    forward_ms: float
    backward_ms: float
    training_mb: float
    inference_mb: float
    model_mb: float
    memory_by: str


def check_size(model: str, size_hw: tuple[int, int]) -> None:
    """Refuse an image too small for a network, before anything is computed.

    Args:
        model: a name for `build_model`.
        size_hw: height and width of the image.

    Raises:
        UsageError: the network cannot be run, or trained on one such image.
    """
    # On the meta device only shapes are worked out. Batch normalisation in training mode refuses
    # a single value, which is what is left of small images deep in some networks.
    with torch.device("meta"):
        network = build_model(model).train()
        image = torch.empty((1, 3, *size_hw))
    try:
        network(image)
    except (RuntimeError, ValueError) as exc:
        reason = first_line(exc)
        raise UsageError(
            f"{model} cannot be measured at {size_hw[0]}x{size_hw[1]} ({reason})",
            fix=f"use a larger one, for example {option('--size', (360, 480))}",
        ) from exc


def measure_cost(
    model: nn.Module,
    size_hw: tuple[int, int],
    device: torch.device,
    *,
    warm_up: int = 3,
    repeats: int = 10,
) -> Cost:
    """Measure a network; its weights stay as they are, its mode and device change.

    On CUDA, times come from events and memory from the allocator's peak. On the CPU, where a
    process's memory says little, tensors alive are added up after every operation; what an
    operation needs for itself meanwhile is not seen there.

    Args:
        model: takes (1, 3, H, W) float BGR in 0..1.
        size_hw: height and width of the image.
        device: where it runs.
        warm_up: passes before those that are timed.
        repeats: passes that are timed; the median counts.

    Raises:
        BackendError: the device has too little memory.
    """
    try:
        with full_fp32(device):
            return _measure(model, size_hw, device, warm_up, repeats)
    except (RuntimeError, MemoryError) as exc:
        if not is_out_of_memory(exc):
            raise
        raise BackendError(
            f"{device} has too little memory to time a network at {size_hw[0]}x{size_hw[1]}",
            fix=f"use a smaller {option('--size')}, or leave the network out of "
            f"{option('--models')}",
        ) from exc
    finally:
        model.zero_grad(set_to_none=True)


def _measure(
    model: nn.Module, size_hw: tuple[int, int], device: torch.device, warm_up: int, repeats: int
) -> Cost:
    model.zero_grad(set_to_none=True)
    weights = _weights_file_bytes(model)
    gc.collect()
    taken = torch.cuda.memory_allocated(device) if device.type == "cuda" else 0
    model.to(device)

    def batch(count: int) -> tuple[Tensor, Tensor]:
        images = torch.rand((count, 3, *size_hw), device=device)
        return images, torch.zeros((count, *size_hw), dtype=torch.long, device=device)

    def infer() -> None:
        with torch.inference_mode():
            model(one[0])

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(model(images), labels)

    one = batch(1)
    model.eval()
    forward_ms = _median_ms(lambda: None, lambda _: infer(), device, warm_up, repeats)
    inference = _peak_bytes(infer, model, device, taken)
    model.train()
    with _statistics_kept(model):
        backward_ms = _median_ms(lambda: loss(*one), _backward, device, warm_up, repeats)
        model.zero_grad(set_to_none=True)
        several = batch(TRAINING_BATCH)
        training = _peak_bytes(lambda: _backward(loss(*several)), model, device, taken)
    model.eval()
    return Cost(
        parameters_m=sum(p.numel() for p in model.parameters() if p.requires_grad) / 1e6,
        forward_ms=forward_ms,
        backward_ms=backward_ms,
        training_mb=training / MB,
        inference_mb=inference / MB,
        model_mb=weights / MB,
        memory_by="cuda" if device.type == "cuda" else "tensors",
    )


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the memory of the tensors that operations made and that are still alive.

    Views are not counted twice. What existed before is not counted.

    Attributes:
        now: bytes alive after the last operation.
        peak: the most that ever was.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: set[int] = set()
        self._alive: dict[StorageWeakRef, int] = {}

    def expect(self, tensors: Iterator[Tensor]) -> None:
        """Tensors that existed before; operations that return them make nothing new."""
        self._known |= {tensor.untyped_storage()._cdata for tensor in tensors}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operation and look at what it made."""
        del types
        results = func(*args, **(kwargs or {}))
        # The weak references keep a storage's identity from being taken by another.
        self._alive = {ref: size for ref, size in self._alive.items() if not _expired(ref)}
        for tensor in tree_leaves(results):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self._known:
                    self._alive[_weak(storage)] = storage.nbytes()
        self.now = sum(self._alive.values())
        self.peak = max(self.peak, self.now)
        return results


# PyTorch's own helpers for weak references and events, and `backward`, have no types.
_weak: Callable[[Any], StorageWeakRef] = StorageWeakRef
_event: Callable[..., Any] = torch.cuda.Event
_backward: Callable[[Tensor], None] = Tensor.backward


def _expired(reference: Any) -> bool:
    return bool(reference.expired())


def _peak_bytes(
    work: Callable[[], None], model: nn.Module, device: torch.device, taken: int
) -> int:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - taken
    own = [*model.parameters(), *model.buffers()]
    live = LiveBytes()
    live.expect(iter(own))
    with live:
        work()
    return live.peak + sum(tensor.numel() * tensor.element_size() for tensor in own)


def _median_ms(
    prepare: Callable[[], Any],
    work: Callable[[Any], object],
    device: torch.device,
    warm_up: int,
    repeats: int,
) -> float:
    times_ms: list[float] = []
    for turn in range(warm_up + repeats):
        value = prepare()
        if device.type == "cuda":
            begin, end = (_event(enable_timing=True) for _ in range(2))
            # Whatever `prepare` started must not be waited for in the time measured.
            torch.cuda.synchronize(device)
            begin.record()
            work(value)
            end.record()
            torch.cuda.synchronize(device)
            elapsed_ms = begin.elapsed_time(end)
        else:
            begin_s = time.perf_counter()
            work(value)
            elapsed_ms = 1000 * (time.perf_counter() - begin_s)
        if turn >= warm_up:
            times_ms.append(elapsed_ms)
    return statistics.median(times_ms)


@contextmanager
def _statistics_kept(model: nn.Module) -> Iterator[None]:
    """Passes in training mode move batch-norm's statistics; bring them back."""
    before = [(buffer, buffer.clone()) for buffer in model.buffers()]
    try:
        yield
    finally:
        for buffer, value in before:
            buffer.copy_(value)


def _weights_file_bytes(model: nn.Module) -> int:
    file = io.BytesIO()
    torch.save({key: value.cpu().float() for key, value in model.state_dict().items()}, file)
    return file.tell()
