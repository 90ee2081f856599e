"""Real-time road-scene video segmentation with index-unpooling networks.

>>> import roadseg
>>> segmenter = roadseg.Segmenter(model="segnet-lite")
>>> labels = segmenter(frame_bgr).ids          # (H, W) uint8, see roadseg.core.labels.CLASS_NAMES
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roadseg.core.version import __version__

if TYPE_CHECKING:
    from roadseg.comparison.network import ComparisonPlan
    from roadseg.comparison.run import compare
    from roadseg.core import errors, labels
    from roadseg.core.geometry import LabelMap
    from roadseg.core.types import Frame
    from roadseg.loading.segmenter import Segmenter
    from roadseg.training.loop import train
    from roadseg.training.spec import RunSpec

__all__ = [
    "ComparisonPlan",
    "Frame",
    "LabelMap",
    "RunSpec",
    "Segmenter",
    "__version__",
    "compare",
    "errors",
    "labels",
    "train",
]


_HOMES = {
    "ComparisonPlan": "comparison.network",
    "Frame": "core.types",
    "LabelMap": "core.geometry",
    "RunSpec": "training.spec",
    "Segmenter": "loading.segmenter",
    "compare": "comparison.run",
    "train": "training.loop",
}
"""Where the public names are; `errors` and `labels` are modules of `core`."""


def __getattr__(name: str) -> Any:
    # Lazy, so that `roadseg --help` does not wait for NumPy and OpenCV, nor `run` for PyTorch.
    from importlib import import_module

    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in ("errors", "labels"):
        return import_module(f"{__name__}.core.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # What is there to be used, loaded or not.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
