"""Every error that roadseg raises on purpose: one tree, one exit code per branch.

The public name of `roadseg.core.errors`.
"""

from roadseg.core.errors import (
    BackendError,
    DataError,
    EngineError,
    ModelError,
    QualityGateError,
    RoadsegError,
    SinkError,
    SourceError,
    UsageError,
)

__all__ = [
    "BackendError",
    "DataError",
    "EngineError",
    "ModelError",
    "QualityGateError",
    "RoadsegError",
    "SinkError",
    "SourceError",
    "UsageError",
]
