"""Backends that tell how sure the network is: class scores instead of labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from roadseg.core.backend import Backend

if TYPE_CHECKING:
    from roadseg.backends.tensorrt.build.builder import BuildProgress

__all__ = ["create_scoring_backend"]


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
    from roadseg.loading.select import choose_backend, create_backend
    from roadseg.weights import resolve_model

    runtime = choose_backend(model, backend, report=report)
    if runtime == "torch":
        from roadseg.backends.torch.scores import TorchScoringBackend

        file = resolve_model(model, runtime)
        return TorchScoringBackend(file.path, network_hw, name=file.name, threads=threads)
    if runtime == "openvino":
        from roadseg.backends.openvino.scores import OpenVinoScoringBackend

        file = resolve_model(model, runtime)
        return OpenVinoScoringBackend(
            file.path, network_hw, name=file.name, precision=file.precision, threads=threads
        )
    return create_backend(
        model, runtime, network_hw, threads=threads, report=report, progress=progress
    )
