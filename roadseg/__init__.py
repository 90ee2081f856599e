"""Real-time road-scene video segmentation with index-unpooling networks.

>>> import roadseg
>>> segmenter = roadseg.Segmenter(model="segnet-lite")
>>> labels = segmenter(frame_bgr).ids          # (H, W) uint8, see roadseg.labels.CLASS_NAMES
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from roadseg.core.version import __version__

if TYPE_CHECKING:
    from roadseg import errors, labels
    from roadseg.core.geometry import LabelMap
    from roadseg.core.types import Frame
    from roadseg.loading.segmenter import Segmenter

__all__ = ["Frame", "LabelMap", "Segmenter", "__version__", "errors", "labels"]


def __getattr__(name: str) -> Any:
    # Lazy, so that `roadseg --help` does not wait for NumPy and OpenCV.
    if name == "Segmenter":
        from roadseg.loading.segmenter import Segmenter

        return Segmenter
    if name == "Frame":
        from roadseg.core.types import Frame

        return Frame
    if name == "LabelMap":
        from roadseg.core.geometry import LabelMap

        return LabelMap
    if name in ("errors", "labels"):
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # What is there to be used, loaded or not.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
