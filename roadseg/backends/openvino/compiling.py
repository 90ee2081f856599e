"""Compiles a network for the CPU, or takes what an earlier run compiled.

Compiling segnet-lite takes 0.4 s of processor time, loading what was compiled 0.15. OpenVINO keeps
it in files of its own, by network, input, options, processor and version, and compiles again what
it cannot use: a file that is damaged, or of another processor or version.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

# Files to keep, of 5 MB each for segnet-lite: a few inputs, one at a time and several in flight.
_KEPT = 16

_LARGEST_MODEL = 16 * 2**20
"""Bytes. What is compiled holds the weights again."""


def is_worth_keeping(model: Path) -> bool:
    """Whether a model is small enough to be kept a second time."""
    parts = {model, model.with_suffix(".bin")}
    return sum(part.stat().st_size for part in parts if part.is_file()) <= _LARGEST_MODEL


def compile_network(
    core: Any, network: Any, options: dict[str, Any], cache: Path | None = None
) -> Any:
    """An `openvino.CompiledModel`.

    Args:
        core: an `openvino.Core`.
        network: an `openvino.Model`, its input of one size.
        options: properties of the CPU plugin.
        cache: folder for what is compiled, made where it is missing; None for nowhere. One that
            cannot be used costs time, and no more.

    Raises:
        RuntimeError: OpenVINO cannot compile it.
    """
    if cache is not None:
        # OpenVINO's own errors, such as those of a full disk, are RuntimeErrors.
        with contextlib.suppress(OSError, RuntimeError):
            cache.mkdir(parents=True, exist_ok=True)
            compiled = core.compile_model(network, "CPU", {**options, "CACHE_DIR": str(cache)})
            _drop_oldest(cache)
            return compiled
    return core.compile_model(network, "CPU", options)


def _drop_oldest(cache: Path) -> None:
    blobs = sorted(cache.glob("*.blob"), key=lambda blob: blob.stat().st_mtime)
    for blob in blobs[:-_KEPT]:
        blob.unlink(missing_ok=True)
