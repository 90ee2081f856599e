"""What every backend offers: a synchronous call on declared arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["SIDE_MULTIPLE", "Backend", "BackendInfo", "check_batch"]

SIDE_MULTIPLE = 32
"""Sides of the input of networks with free sizes are multiples of this: five halvings."""


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """What runs, in words for reports: `openvino`, `segnet-lite`, `int8`, `CPU (2 threads)`."""

    name: str
    model: str
    precision: str
    device: str


@runtime_checkable
class Backend(Protocol):
    """A compiled network of one input size.

    A backend is used by one thread at a time. The array that `infer` returns belongs to the
    caller: a later call does not overwrite it.
    """

    @property
    def info(self) -> BackendInfo:
        """What runs and where."""
        ...

    @property
    def network_hw(self) -> tuple[int, int]:
        """Height and width of the input that `infer` takes."""
        ...

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """(N, h, w, 3) uint8 BGR frames to (N, h, w) uint8 class ids.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Give memory and devices back; a second call does nothing."""
        ...


def check_batch(batch_bgr: npt.NDArray[np.uint8], network_hw: tuple[int, int]) -> None:
    """Refuse what is not a (N, h, w, 3) uint8 batch of the network's size.

    Raises:
        ValueError: the message says what was expected and what came.
    """
    h, w = network_hw
    if batch_bgr.shape[1:] != (h, w, 3) or batch_bgr.dtype != np.uint8:
        raise ValueError(
            f"expected (N, {h}, {w}, 3) uint8, got {batch_bgr.shape} {batch_bgr.dtype}"
        )
