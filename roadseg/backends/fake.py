"""A backend without a network: deterministic labels from pixel values.

It ships with the package, so that the loop, the command line and the sinks can be tested and
demonstrated with no model, and so that a pipeline can be timed without inference.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

from roadseg.core.backend import BackendInfo, check_batch
from roadseg.core.labels import NUM_CLASSES


class FakeBackend:
    """Labels each pixel with `green * NUM_CLASSES // 256`: 0 for black, 10 for white."""

    info = BackendInfo(name="fake", model="fake", precision="uint8", device="CPU")

    def __init__(self, network_hw: tuple[int, int]) -> None:
        self.network_hw = network_hw
        self._table = (np.arange(256) * NUM_CLASSES // 256).astype(np.uint8)

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`."""
        check_batch(batch_bgr, self.network_hw)
        labels: npt.NDArray[np.uint8] = self._table[batch_bgr[..., 1]]
        return labels

    def close(self) -> None:
        """Nothing to give back."""


class FakeScoringBackend(FakeBackend):
    """The same labels with scores: sure of them where blue is 0, torn where it is 255."""

    def infer_scores(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """See `ScoringBackend.infer_scores`."""
        ids = self.infer(batch_bgr)
        surely = (256 - batch_bgr[..., 0].astype(np.float32)) / 16
        classes = np.arange(NUM_CLASSES, dtype=np.uint8)[:, np.newaxis, np.newaxis]
        return np.where(ids[:, np.newaxis] == classes, surely[:, np.newaxis], np.float32(0))


class FakePipelinedBackend(FakeBackend):
    """The same labels from a backend that keeps several batches in flight, as one on a GPU does."""

    def __init__(self, network_hw: tuple[int, int], depth: int = 2) -> None:
        super().__init__(network_hw)
        self.depth = depth
        self._in_flight: deque[npt.NDArray[np.uint8]] = deque()

    def submit(self, batch_bgr: npt.NDArray[np.uint8]) -> None:
        """See `PipelinedBackend.submit`."""
        check_batch(batch_bgr, self.network_hw)
        if len(self._in_flight) >= self.depth:
            raise RuntimeError(f"{len(self._in_flight)} batches are in flight: collect one first")
        self._in_flight.append(batch_bgr.copy())

    def collect(self) -> npt.NDArray[np.uint8]:
        """See `PipelinedBackend.collect`."""
        if not self._in_flight:
            raise RuntimeError("no batch is in flight: submit one first")
        return super().infer(self._in_flight.popleft())

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`."""
        if self._in_flight:
            raise RuntimeError(f"{len(self._in_flight)} batches are in flight: collect them first")
        return super().infer(batch_bgr)

    def close(self) -> None:
        """Forget what is in flight."""
        self._in_flight.clear()
