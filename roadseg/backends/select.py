"""From what the user typed to a running backend."""

from __future__ import annotations

from typing import TYPE_CHECKING

from roadseg.backends.base import SIDE_MULTIPLE
from roadseg.errors import UsageError
from roadseg.weights import resolve_model

if TYPE_CHECKING:
    from roadseg.backends.base import Backend

__all__ = ["BACKEND_NAMES", "create_backend", "input_multiple"]

BACKEND_NAMES = ("auto", "openvino", "torch", "fake")
"""What `--backend` takes; `auto` is OpenVINO."""


def create_backend(
    model: str, backend: str, network_hw: tuple[int, int], *, threads: int | None = None
) -> Backend:
    """Load a model into the backend of that name, for frames of one size.

    Args:
        model: a name from `roadseg.weights`, or a path to `.xml`, `.onnx` or `.pt`.
        backend: `auto`, `openvino`, `torch` or `fake`.
        network_hw: height and width of the network's input.
        threads: CPU threads; default: the runtime's choice.

    Raises:
        UsageError: unknown model or backend, or a model that the backend does not take.
        ModelError: the model file is missing, damaged or has the wrong checksum.
        BackendError: the runtime is missing or cannot run the model.
    """
    runtime = _runtime(backend)
    if runtime == "fake":
        from roadseg.backends.fake import FakeBackend

        return FakeBackend(network_hw)
    file = resolve_model(model, runtime)
    if runtime == "torch":
        from roadseg.backends.torch import TorchBackend

        return TorchBackend(file.path, network_hw, name=file.name, threads=threads)
    from roadseg.backends.openvino import OpenVinoBackend

    return OpenVinoBackend(
        file.path, network_hw, name=file.name, precision=file.precision, threads=threads
    )


def input_multiple(model: str, backend: str) -> int:
    """What the sides of the network's input must be multiples of.

    It is the same for every network and backend, so that they are compared on the same pixels.
    A model exported for one size takes that size only, which `create_backend` checks.

    Raises:
        UsageError: unknown model or backend, or a model that the backend does not take.
        ModelError: the model file is missing, damaged or has the wrong checksum.
    """
    runtime = _runtime(backend)
    if runtime != "fake":
        resolve_model(model, runtime)
    return SIDE_MULTIPLE


def _runtime(backend: str) -> str:
    if backend not in BACKEND_NAMES:
        raise UsageError(f"unknown backend {backend!r}: use --backend {'|'.join(BACKEND_NAMES)}")
    return "openvino" if backend == "auto" else backend
