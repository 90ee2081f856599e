"""From what the user typed to a PyTorch network, ready for export."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from roadseg.core.errors import BackendError, first_line
from roadseg.core.installing import install, require
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.weights import ModelFile, resolve_weights

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class TrainedNetwork:
    """A network with its weights.

    Attributes:
        module: takes (N, 3, H, W) float BGR in 0..1, in inference mode.
        architecture: its name in `roadseg.models`.
        weights_sha256: checksum of the weights' file, in hexadecimal.
        classes: what it tells apart.
    """

    module: nn.Module
    architecture: str
    weights_sha256: str
    classes: ClassSet = CAMVID


def check_libraries(purpose: str = "exporting") -> None:
    """Make sure that PyTorch and ONNX are there, before anything that takes long.

    Args:
        purpose: what needs them, to begin a sentence with.

    Raises:
        BackendError: one is not.
    """
    require(purpose, ("torch", "onnx"), "export")


def load_network(model: str | ModelFile) -> TrainedNetwork:
    """Load trained weights.

    Args:
        model: a shipped model's name, or a file of weights of `roadseg train`; or its file, where
            that has been found and checked already.

    Raises:
        UsageError: unknown model, or one without weights for PyTorch.
        ModelError: the weights are missing, damaged or have the wrong checksum.
        BackendError: PyTorch or ONNX is missing.
    """
    file = model if isinstance(model, ModelFile) else resolve_weights(model)
    check_libraries()
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
    except ImportError as exc:
        raise BackendError(
            f"exporting needs PyTorch and ONNX, and one cannot be loaded ({first_line(exc)})",
            fix=install("export"),
        ) from exc
    from roadseg.models import load_weights, weights_classes

    module, meta = load_weights(file.path)
    return TrainedNetwork(module, str(meta["model"]), file.sha256, weights_classes(file.path))
