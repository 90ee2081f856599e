"""OpenVINO as every room uses it: imported without its converters, its errors in one line.

`import openvino` loads what turns networks of other frameworks into its own, and with that its
usage statistics, HTTP, SSL and masked arrays: two thirds of its time and 15 MB. Networks of roadseg
need no conversion.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any, TypeVar

from roadseg.core.errors import BackendError, RoadsegError, last_line
from roadseg.core.installing import install
from roadseg.core.wording import option

E = TypeVar("E", bound=RoadsegError)

_CONVERTERS = "openvino.tools.ovc"


def import_openvino() -> Any:
    """The module. Its `convert_model` is loaded when it is asked for.

    Raises:
        BackendError: OpenVINO is missing.
    """
    try:
        return _import()
    except ImportError as exc:
        raise BackendError(f"OpenVINO cannot be loaded ({last_line(exc)})", fix=install()) from exc


def _import() -> ModuleType:
    if "openvino" in sys.modules or _CONVERTERS in sys.modules:
        return importlib.import_module("openvino")
    # None stands for a module that is not installed. OpenVINO does without this one.
    sys.modules[_CONVERTERS] = None  # type: ignore[assignment]
    try:
        openvino = importlib.import_module("openvino")
    except ModuleNotFoundError as exc:
        if exc.name != _CONVERTERS:
            raise
        del sys.modules[_CONVERTERS]
        return importlib.import_module("openvino")  # a version that cannot
    finally:
        sys.modules.pop(_CONVERTERS, None)
    if not hasattr(openvino, "convert_model"):
        openvino.__getattr__ = _missing  # type: ignore[method-assign]
    return openvino


def _missing(name: str) -> Any:
    """What `openvino` lacks by now, for whoever uses it beside roadseg."""
    if name == "convert_model":
        return importlib.import_module(_CONVERTERS).convert_model
    raise AttributeError(f"module 'openvino' has no attribute {name!r}")


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
