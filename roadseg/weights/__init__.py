"""The models that ship with roadseg, and model files of your own.

`manifest.json` beside this file lists what ships: for each model its files by runtime, with
checksums, and how it was trained and how it scores. See `roadseg.weights.manifest` for its layout.
"""

from __future__ import annotations

from roadseg.weights.manifest import (
    WEIGHTS_DIR,
    ManifestEntry,
    RungScores,
    load_manifest,
)
from roadseg.weights.resolve import (
    ModelFile,
    is_engine,
    model_names,
    resolve_model,
    resolve_weights,
)

__all__ = [
    "WEIGHTS_DIR",
    "ManifestEntry",
    "ModelFile",
    "RungScores",
    "is_engine",
    "load_manifest",
    "model_names",
    "resolve_model",
    "resolve_weights",
]
