"""Backends that tell how sure the network is: class scores instead of labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from roadseg.backends.base import Backend

if TYPE_CHECKING:
    from roadseg.engine.build import BuildProgress

__all__ = ["ScoringBackend", "create_scoring_backend"]


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
        ...


def create_scoring_backend(
    model: str,
    backend: str,
    network_hw: tuple[int, int],
    *,
    threads: int | None = None,
    report: Callable[[str], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Backend:
    """The backend of `create_backend`, with scores where its runtime can give them.

    OpenVINO and PyTorch give scores, PyTorch always in FP32; TensorRT's engines and the fake
    backend hold nothing but labels.

    Args:
        model: a name from `roadseg.weights`, or a path.
        backend: a name from `BACKEND_NAMES`.
        network_hw: height and width of the network's input.
        threads: CPU threads; default: the runtime's choice.
        report: told, in one line each, what takes long and why.
        progress: told how far the building of an engine is.

    Raises:
        RoadsegError: as `create_backend`.
    """
    from roadseg.backends.select import choose_backend, create_backend
    from roadseg.weights import resolve_model

    runtime = choose_backend(model, backend, report=report)
    if runtime == "torch":
        from roadseg.backends.torch_scores import TorchScoringBackend

        file = resolve_model(model, runtime)
        return TorchScoringBackend(file.path, network_hw, name=file.name, threads=threads)
    if runtime == "openvino":
        from roadseg.backends.openvino_scores import OpenVinoScoringBackend

        file = resolve_model(model, runtime)
        return OpenVinoScoringBackend(
            file.path, network_hw, name=file.name, precision=file.precision, threads=threads
        )
    return create_backend(
        model, runtime, network_hw, threads=threads, report=report, progress=progress
    )
