"""What a score was measured with and on, so that it can be measured again."""

from __future__ import annotations

from pathlib import Path

from roadseg.weights import is_engine, resolve_model
from roadseg.weights.manifest import sha256_of

__all__ = ["weights_file"]


def weights_file(model: str, runtime: str) -> tuple[str, str] | None:
    """Name and SHA-256, in hexadecimal, of the file that holds a model's weights.

    Of OpenVINO's two files that is the `.bin`; of an engine built for a model, the weights that it
    was built from. None for the fake backend, which has no weights.

    Args:
        model: a name from `roadseg.weights`, or a path.
        runtime: a backend's name; not `auto`, see `roadseg.loading.select.choose_backend`.

    Raises:
        UsageError, ModelError: as `roadseg.weights.resolve_model`.
    """
    if runtime == "fake":
        return None
    path = Path(model) if is_engine(model) else resolve_model(model, runtime).path
    if path.suffix.lower() == ".xml":
        path = path.with_suffix(".bin")
    return path.name, sha256_of(path)
