"""From what the user typed to a running backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.backends.gpu import has_nvidia_driver, why_not_tensorrt
from roadseg.core.backend import SIDE_MULTIPLE
from roadseg.core.errors import UsageError
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.weights_file import is_weights
from roadseg.core.wording import option
from roadseg.loading.classes import classes_of_model, require_torch
from roadseg.weights import is_engine, load_manifest, resolve_model

if TYPE_CHECKING:
    from roadseg.backends.tensorrt.build.builder import BuildProgress
    from roadseg.core.backend import Backend

__all__ = [
    "BACKEND_NAMES",
    "choose_backend",
    "create_backend",
    "fixed_size",
    "input_multiple",
    "model_classes",
]

BACKEND_NAMES = ("auto", "tensorrt", "openvino", "torch", "fake")
"""What `--backend` takes; `auto`: see `choose_backend`. `tensorrt` is TensorRT-RTX, too."""


def choose_backend(
    model: str, backend: str = "auto", *, report: Callable[[str], None] | None = None
) -> str:
    """The name of the backend that `auto` means for this model, on this machine.

    TensorRT if it works on the GPU, else PyTorch if that does, else OpenVINO. Without an NVIDIA
    driver it is OpenVINO, and nothing is loaded to find out. A model that is a file goes to the
    backend that takes such files: one of weights to PyTorch where TensorRT cannot be used.

    Args:
        model: a name from `roadseg.weights`, or a path.
        backend: a name; any but `auto` is returned as it is.
        report: told, in one line, why a GPU is not used as it could be.

    Raises:
        UsageError: no backend has that name.
        BackendError: `auto` for a file of weights, without PyTorch.
    """
    if backend not in BACKEND_NAMES:
        raise UsageError(
            f"unknown backend {backend!r}", fix=f"use {option('--backend', *BACKEND_NAMES)}"
        )
    if backend != "auto":
        return backend
    if is_engine(model):
        return "tensorrt"
    on_cpu = "openvino"
    if is_weights(model):
        require_torch(model)
        on_cpu = "torch"
    if not has_nvidia_driver() or not _has_weights(model):
        return on_cpu
    problem = why_not_tensorrt()
    if problem is None:
        return "tensorrt"
    from roadseg.backends.torch.gpu import torch_sees_gpu

    chosen = "torch" if torch_sees_gpu() else on_cpu
    if report is not None:
        report(f"running on {chosen}, because TensorRT cannot be used: {problem}")
    return chosen


def create_backend(
    model: str,
    backend: str,
    network_hw: tuple[int, int],
    *,
    threads: int | None = None,
    report: Callable[[str], None] | None = None,
    progress: Callable[[BuildProgress], None] | None = None,
) -> Backend:
    """Load a model into the backend of that name, for frames of one size.

    Args:
        model: a name from `roadseg.weights`, or a path to `.xml`, `.onnx`, `.safetensors` or
            `.engine`.
        backend: a name from `BACKEND_NAMES`.
        network_hw: height and width of the network's input.
        threads: CPU threads; default: the runtime's choice.
        report: told, in one line each, what takes long and why.
        progress: told how far the building of an engine is.

    Raises:
        UsageError: unknown model or backend, or a model that the backend does not take.
        ModelError: the model file is missing, damaged or has the wrong checksum.
        BackendError: the runtime is missing or cannot run the model.
        EngineError: an engine cannot be built, or the one given cannot be used.
    """
    runtime = choose_backend(model, backend, report=report)
    if runtime == "fake":
        from roadseg.backends.fake import FakeBackend

        return FakeBackend(network_hw)
    if runtime == "tensorrt":
        from roadseg.loading.engines import open_tensorrt

        return open_tensorrt(model, network_hw, report=report, progress=progress)
    file = resolve_model(model, runtime)
    if runtime == "torch":
        from roadseg.backends.torch.backend import open_torch_backend

        return open_torch_backend(file.path, network_hw, name=file.name, threads=threads)
    from roadseg.backends.openvino.backend import OpenVinoBackend

    return OpenVinoBackend(
        file.path, network_hw, name=file.name, precision=file.precision, threads=threads
    )


def fixed_size(model: str) -> tuple[int, int] | None:
    """Height and width of the only input that a model takes; None if it takes several.

    Raises:
        EngineError: the model is an engine that is not there, or whose manifest is missing or
            damaged.
    """
    if not is_engine(model):
        return None
    from roadseg.engine.store import read_engine

    return read_engine(Path(model)).manifest.size_hw


def input_multiple(model: str, backend: str) -> int:
    """What the sides of an input that the user chooses must be multiples of.

    By default the input's size follows the frames, in multiples of `SIDE_MULTIPLE` for every
    network and backend, so that they are compared on the same pixels. Engines are built for one
    size, whatever it is. An ONNX file of one size takes that size only, which `create_backend`
    checks.

    Raises:
        UsageError: unknown model or backend, or a model that the backend does not take.
        ModelError: the model file is missing, damaged or has the wrong checksum.
    """
    runtime = choose_backend(model, backend)
    if runtime == "fake":
        return SIDE_MULTIPLE
    if not (runtime == "tensorrt" and is_engine(model)):
        resolve_model(model, runtime)
    return 1 if runtime == "tensorrt" else SIDE_MULTIPLE


def model_classes(model: str, backend: str) -> ClassSet:
    """The classes that a model tells apart; the fake backend's are CamVid's.

    Raises:
        UsageError: unknown model or backend.
        ModelError: the model file is missing, or what it says of its classes is damaged.
        EngineError: an engine is not there, or its manifest is missing or damaged.
        BackendError: the classes of a `.pt` file of an earlier version, without PyTorch.
    """
    runtime = choose_backend(model, backend)
    if runtime == "fake":
        return CAMVID
    is_known = is_engine(model) or Path(model).is_file() or model in load_manifest()
    if not is_known:
        resolve_model(model, runtime)
    return classes_of_model(model)


def _has_weights(model: str) -> bool:
    """Whether there are weights to build an engine from, or for PyTorch."""
    entry = load_manifest().get(model)
    if entry is None:
        return is_weights(model)
    return "torch" in entry.files
