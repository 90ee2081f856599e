"""TensorRT, and TensorRT-RTX, on an NVIDIA GPU.

Two batches are in flight at once, each in a slot of its own (`tensorrt_slot`). While the network
runs in one slot, the next frames travel to the GPU in the other, and the labels before them back:

    slot 0   upload 0 | network 0 | download 0   upload 2 | network 2 | download 2
    slot 1              upload 1 | ......... network 1 | download 1   upload 3 | ...
    host     stage 0   stage 1     take 0   stage 2      take 1   stage 3

Each slot's steps are ordered by its stream, and the slots know nothing of each other: the GPU
may begin network 1 where network 0 leaves room. So the two share one engine but no memory. The
host waits for nothing but the event at the end of the slot that it takes labels from.

On the way of a frame nothing is allocated but the array of labels that the caller keeps.
"""

from __future__ import annotations

from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from roadseg.backends.tensorrt.execution import LoadedEngine
from roadseg.backends.tensorrt.rtx import RtxRuntime
from roadseg.backends.tensorrt.slot import Slot
from roadseg.core.backend import BackendInfo, check_batch
from roadseg.core.errors import BackendError

if TYPE_CHECKING:
    from roadseg.cuda.api import Cuda
    from roadseg.engine.runtime import Runtime
    from roadseg.engine.store import EngineFile


_SLOTS = 2


@dataclass(eq=False)
class _Batch:
    """What `submit` was given: the labels so far, and how many parts of it are on the GPU."""

    labels: npt.NDArray[np.uint8]
    parts: int = 0
    error: BackendError | None = None


@dataclass(frozen=True)
class _Part:
    """Frames `first` to `first + count` of a batch, in a slot."""

    slot: Slot
    batch: _Batch
    first: int
    count: int


class TensorRtBackend:
    """An engine on the GPU, as a `PipelinedBackend`.

    A batch that is larger than the engine's largest runs in parts, both slots at work; one that is
    smaller than its smallest is filled up.

    Args:
        engine: a plan file and its manifest.
        runtime: the TensorRT that runs it.
        cuda: CUDA on the GPU to use; the caller closes it, after this.
        plan: what `read_plan` read, where it was read before.

    Raises:
        EngineError: the engine is damaged, or was built for another TensorRT or GPU.
        BackendError: the GPU's memory is full, or TensorRT or CUDA failed.
    """

    depth = _SLOTS

    def __init__(
        self, engine: EngineFile, *, runtime: Runtime, cuda: Cuda, plan: bytes | None = None
    ) -> None:
        cuda.make_current()  # TensorRT loads onto the GPU that is current
        self._cuda = cuda
        with ExitStack() as stack:
            loaded = LoadedEngine(engine, runtime, plan)
            stack.callback(loaded.close)
            rtx = None
            if runtime.target == "tensorrt-rtx":
                rtx = RtxRuntime(loaded.trt, loaded.engine, engine.manifest.plan_sha256[:16])
                stack.callback(rtx.close)
            capture = rtx is None and cuda.supports_graphs
            self._slots: list[Slot] = []
            for _ in range(_SLOTS):
                slot = Slot(loaded, cuda, capture=capture, config=rtx and rtx.config)
                stack.callback(slot.close)
                self._slots.append(slot)
            if rtx is not None:
                rtx.save()  # compiling took long; a run that is killed should not lose that
            self._resources: ExitStack | None = stack.pop_all()
        self.network_hw = loaded.network_hw
        self._most = loaded.batches[1]
        self._started = 0
        self._parts: deque[_Part] = deque()
        self._batches: deque[_Batch] = deque()
        plain = rtx is None and not all(slot.captures for slot in self._slots)
        self.info = BackendInfo(
            name=runtime.target,
            model=engine.manifest.model,
            precision=engine.manifest.precision,
            device=cuda.device.name + (" (without a CUDA graph)" if plain else ""),
        )

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`.

        Raises:
            ValueError: the batch has another shape or dtype.
            RuntimeError: batches are in flight: collect them first.
            BackendError: TensorRT or CUDA failed, or the backend is closed.
        """
        if self._batches:
            raise RuntimeError(f"{len(self._batches)} batches are in flight: collect them first")
        self.submit(batch_bgr)
        return self.collect()

    def submit(self, batch_bgr: npt.NDArray[np.uint8]) -> None:
        """See `PipelinedBackend.submit`."""
        check_batch(batch_bgr, self.network_hw)
        self._check_open()
        if len(self._batches) >= _SLOTS:
            raise RuntimeError(f"{len(self._batches)} batches are in flight: collect one first")
        self._cuda.make_current()
        batch = _Batch(np.empty((len(batch_bgr), *self.network_hw), np.uint8))
        for first in range(0, len(batch_bgr), self._most):
            if len(self._parts) == _SLOTS:
                self._finish_oldest()
            # Parts begin and end in the same order, so the slot whose turn it is is free.
            slot = self._slots[self._started % _SLOTS]
            frames = batch_bgr[first : first + self._most]
            slot.start(frames)
            self._started += 1
            batch.parts += 1
            self._parts.append(_Part(slot, batch, first, len(frames)))
        self._batches.append(batch)

    def collect(self) -> npt.NDArray[np.uint8]:
        """See `PipelinedBackend.collect`."""
        self._check_open()
        if not self._batches:
            raise RuntimeError("no batch is in flight: submit one first")
        self._cuda.make_current()
        batch = self._batches.popleft()
        while batch.parts:
            self._finish_oldest()
        if batch.error is not None:
            raise batch.error
        return batch.labels

    def close(self) -> None:
        """Wait for what is in flight and give everything back; a second call does nothing."""
        if self._resources is not None:
            self._cuda.make_current()
            self._batches.clear()
            self._parts.clear()
            self._slots.clear()
            resources, self._resources = self._resources, None
            resources.close()

    def _finish_oldest(self) -> None:
        part = self._parts.popleft()
        batch = part.batch
        batch.parts -= 1
        try:
            labels = part.slot.wait()
        except BackendError as exc:
            # It belongs to the batch, which may not be the one that the caller asks for now.
            batch.error = batch.error or exc
            return
        np.copyto(batch.labels[part.first : part.first + part.count], labels[: part.count])

    def _check_open(self) -> None:
        if self._resources is None:
            raise BackendError("the tensorrt backend is closed", fix="create another one")
