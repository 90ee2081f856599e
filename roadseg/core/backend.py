"""What every backend offers: a synchronous call on declared arrays.

Backends whose device works beside the host offer a second form as well, `PipelinedBackend`: hand
the next batch over before the last one is collected, so that neither side waits for the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

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

    @property
    def network_hw(self) -> tuple[int, int]:
        """Height and width of the input that `infer` takes."""

    def infer(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """(N, h, w, 3) uint8 BGR frames to (N, h, w) uint8 class ids.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: the runtime failed.
        """

    def close(self) -> None:
        """Give memory and devices back; a second call does nothing."""


@runtime_checkable
class PipelinedBackend(Backend, Protocol):
    """A backend that works on several batches at once; results come in the order of submission.

    >>> backend.submit(first_bgr)
    >>> backend.submit(second_bgr)          # while the device works on the first
    >>> first_ids = backend.collect()

    `infer` is `submit` and `collect` in one, and only to be called with nothing in flight.
    """

    @property
    def depth(self) -> int:
        """How many batches may have been submitted and not yet collected; at least 2."""

    def submit(self, batch_bgr: npt.NDArray[np.uint8]) -> None:
        """Start on (N, h, w, 3) uint8 BGR frames, which may be overwritten once this returns.

        Raises:
            ValueError: the batch has another shape or dtype.
            RuntimeError: `depth` batches are in flight already.
            BackendError: the runtime failed. The batch is not in flight; those before it are.
        """

    def collect(self) -> npt.NDArray[np.uint8]:
        """Wait for the oldest batch in flight: (N, h, w) uint8 class ids, the caller's own.

        Raises:
            RuntimeError: nothing is in flight.
            BackendError: the runtime failed. The batch is lost, and no longer in flight.
        """


@runtime_checkable
class ScoringBackend(Backend, Protocol):
    """A backend that gives the scores from which its labels are made."""

    def infer_scores(self, batch_bgr: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """(N, h, w, 3) uint8 BGR frames to (N, classes, h, w) float32, before softmax.

        The label of a pixel is the class of its highest score, the lowest id of equals.

        Raises:
            ValueError: the batch has another shape or dtype.
            BackendError: the runtime failed.
        """


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
