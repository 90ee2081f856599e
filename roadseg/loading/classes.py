"""Which classes a model knows, read from its file without loading the model."""

from __future__ import annotations

from pathlib import Path

from roadseg.core.errors import BackendError, ModelError, reading
from roadseg.core.installing import install, is_installed
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.weights_file import SUFFIX, SUFFIXES, is_weights, read_header
from roadseg.weights import graph_file


def classes_of_file(path: Path) -> ClassSet:
    """The classes that a `.xml`, `.onnx` or `.safetensors` file knows.

    A file that does not say, or is none, counts as one for CamVid's; what is wrong with it, the
    backend says.

    Raises:
        ModelError: what the file says of its classes is damaged, or it is no weights file.
        BackendError: the classes of a file of weights, without PyTorch.
    """
    suffix = path.suffix.lower()
    with reading(ModelError, path):
        is_there = path.is_file()
    if not is_there or suffix not in (*SUFFIXES, *graph_file.SUFFIXES):
        return CAMVID
    if suffix == SUFFIX:
        return read_header(path).classes
    if is_weights(path):
        return _of_old_weights(path)
    return graph_file.read_graph(path).classes(path)


def _of_old_weights(path: Path) -> ClassSet:
    try:
        from roadseg.models import weights_classes
    except ImportError as exc:
        raise _no_torch(str(path)) from exc
    return weights_classes(path)


def require_torch(model: str) -> None:
    """Make sure that there is PyTorch to load a file of weights with.

    Raises:
        BackendError: there is not.
    """
    if not is_installed("torch"):
        raise _no_torch(model)


def _no_torch(model: str) -> BackendError:
    return BackendError(
        f"{model} needs PyTorch, which is not installed",
        fix=f"{install('train')}, or turn it into a file for OpenVINO where PyTorch is: "
        f"'roadseg export --model {model} --output {Path(model).stem}.onnx'",
    )
