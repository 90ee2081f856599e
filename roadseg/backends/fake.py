"""A backend without a network: deterministic labels from pixel values.

It ships with the package, so that the loop, the command line and the sinks can be tested and
demonstrated with no model, and so that a pipeline can be timed without inference.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from roadseg.backends.base import BackendInfo, check_batch
from roadseg.labels import NUM_CLASSES

__all__ = ["FakeBackend"]


class FakeBackend:
    """Labels each pixel with `green * NUM_CLASSES // 256`: 0 for black, 10 for white."""

    def __init__(self, network_hw: tuple[int, int]) -> None:
        self._network_hw = network_hw
        self._table = (np.arange(256) * NUM_CLASSES // 256).astype(np.uint8)

    @property
    def info(self) -> BackendInfo:
        return BackendInfo(name="fake", model="fake", precision="uint8", device="CPU")

    @property
    def network_hw(self) -> tuple[int, int]:
        return self._network_hw

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """See `Backend.infer`."""
        check_batch(batch_bgr, self._network_hw)
        labels: npt.NDArray[np.uint8] = self._table[batch_bgr[..., 1]]
        return labels

    def close(self) -> None:
        """Nothing to give back."""
