"""Real-time road-scene video segmentation with index-unpooling networks.

>>> import roadseg
>>> segmenter = roadseg.Segmenter(model="segnet-lite")
>>> labels = segmenter(frame_bgr).ids          # (H, W) uint8, see roadseg.labels.CLASS_NAMES
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from roadseg.core.version import __version__

if TYPE_CHECKING:
    from roadseg import errors, labels
    from roadseg.archive.process import process_clip
    from roadseg.archive.result import ClipResult
    from roadseg.archive.run import process_archive
    from roadseg.archive.spec import ArchiveSpec, ClipSpec
    from roadseg.backends.tensorrt.builder.build_engine import build_engine
    from roadseg.comparison.network import ComparisonPlan
    from roadseg.comparison.run import compare
    from roadseg.core.geometry import LabelMap
    from roadseg.core.types import Frame
    from roadseg.engine.spec import EngineSpec
    from roadseg.export.exporting import export_network
    from roadseg.loading.segmenter import Segmenter
    from roadseg.media.mask_video import MaskVideo
    from roadseg.quantize.calibrating import calibrate_model
    from roadseg.quantize.quantizing import quantize_model
    from roadseg.run.evaluating import evaluate_model
    from roadseg.training.crossval import cross_validate
    from roadseg.training.loop import train
    from roadseg.training.spec import RunSpec

__all__ = [
    "ArchiveSpec",
    "ClipResult",
    "ClipSpec",
    "ComparisonPlan",
    "EngineSpec",
    "Frame",
    "LabelMap",
    "MaskVideo",
    "RunSpec",
    "Segmenter",
    "__version__",
    "build_engine",
    "calibrate_model",
    "compare",
    "cross_validate",
    "errors",
    "evaluate_model",
    "export_network",
    "labels",
    "process_archive",
    "process_clip",
    "quantize_model",
    "train",
]

# Where each name lives. Loaded when it is asked for, so that `roadseg --help` does not wait for
# NumPy and OpenCV.
_HOMES = {
    "ArchiveSpec": "archive.spec",
    "ClipResult": "archive.result",
    "ClipSpec": "archive.spec",
    "ComparisonPlan": "comparison.network",
    "EngineSpec": "engine.spec",
    "Frame": "core.types",
    "LabelMap": "core.geometry",
    "MaskVideo": "media.mask_video",
    "RunSpec": "training.spec",
    "Segmenter": "loading.segmenter",
    "build_engine": "backends.tensorrt.builder.build_engine",
    "calibrate_model": "quantize.calibrating",
    "compare": "comparison.run",
    "cross_validate": "training.crossval",
    "evaluate_model": "run.evaluating",
    "export_network": "export.exporting",
    "process_archive": "archive.run",
    "process_clip": "archive.process",
    "quantize_model": "quantize.quantizing",
    "train": "training.loop",
}

# What begins with PyTorch, so that Python would only say that there is no module of that name.
_TRAINING = {
    "compare": "comparing networks",
    "cross_validate": "cross-validation",
    "train": "training",
}


def __getattr__(name: str) -> Any:
    if name in ("errors", "labels"):
        return import_module(f"{__name__}.{name}")
    if name in _TRAINING:
        from roadseg.core.installing import require

        require(_TRAINING[name], ("torch",), "train")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # What is there to be used, loaded or not.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
