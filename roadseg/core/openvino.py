"""OpenVINO as every room uses it: its import, and its errors in one line."""

from __future__ import annotations

from typing import Any, TypeVar

from roadseg.core.errors import BackendError, RoadsegError, last_line
from roadseg.core.installing import install
from roadseg.core.wording import option

E = TypeVar("E", bound=RoadsegError)


def import_openvino() -> Any:
    """The module.

    Raises:
        BackendError: OpenVINO is missing.
    """
    try:
        import openvino
    except ImportError as exc:
        raise BackendError(f"OpenVINO cannot be loaded ({last_line(exc)})", fix=install()) from exc
    return openvino


def openvino_failure(exc: RuntimeError, what: str, fix: str, kind: type[E]) -> E:
    """The error to raise for one of OpenVINO's, which are all `RuntimeError`s.

    Args:
        exc: its error; what happened is in its last line.
        what: could not be done: `street.xml cannot be compiled`.
        fix: what to do about it.
        kind: of the error to raise.
    """
    return kind(f"{what} ({last_line(exc)})", fix=fix)


def inference_failure(exc: RuntimeError) -> BackendError:
    """The same for a network that ran before."""
    return openvino_failure(
        exc,
        "OpenVINO failed while inferring",
        f"see 'roadseg doctor', or use another {option('--backend')}",
        BackendError,
    )
