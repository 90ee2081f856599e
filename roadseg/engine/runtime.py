"""Which TensorRT is there: the full one, or TensorRT-RTX. Nothing else imports either.

    runtime = load_runtime("auto")
    runtime.trt.Builder(...)

Both have nearly the same Python interface, so the rest of the package takes the module as it comes
and asks `target` where they differ.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal

from roadseg.core.errors import BackendError, UsageError, first_line
from roadseg.core.installing import (
    install_tensorrt,
    is_jetson,
    no_tensorrt_here,
    reinstall,
    upgrade,
)
from roadseg.core.shadowing import shadowing_path
from roadseg.core.wording import option
from roadseg.cuda.failure import GpuError

Target = Literal["tensorrt", "tensorrt-rtx"]

TARGETS: tuple[Target, ...] = ("tensorrt", "tensorrt-rtx")
"""What engines are built for, the one that `auto` prefers first."""

# The modules that each may be installed as. The package index has TensorRT-RTX's bindings under a
# name of their own; its meta package and NVIDIA's archive have the shorter one.
_MODULES: dict[Target, tuple[str, ...]] = {
    "tensorrt": ("tensorrt",),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
_NAMES: dict[Target, str] = {"tensorrt": "TensorRT", "tensorrt-rtx": "TensorRT-RTX"}
_OLDEST: dict[Target, tuple[int, int]] = {"tensorrt": (10, 3), "tensorrt-rtx": (1, 7)}


@dataclass(frozen=True)
class Runtime:
    """A TensorRT that is loaded.

    Attributes:
        trt: its Python module.
        target: which of the two it is.
        version: `(10, 13, 0, 35)`.
        version_text: `10.13.0.35`.
    """

    trt: Any
    target: Target
    version: tuple[int, ...]
    version_text: str

    @property
    def name(self) -> str:
        """For people: `TensorRT 10.13.0.35`."""
        return f"{_NAMES[self.target]} {self.version_text}"


class _MissingError(GpuError):
    """It is not installed, as opposed to installed and unusable."""

    def __init__(self, name: str, target: str) -> None:
        none = no_tensorrt_here(target)
        fix = install_tensorrt(target)
        what = f"{name} is not installed"
        super().__init__(f"{what}: {none}" if none else what, "" if none else fix, fix)
        self.args = (name, target)  # for pickle


def load_runtime(target: str = "auto") -> Runtime:
    """Import TensorRT.

    Args:
        target: `tensorrt`, `tensorrt-rtx`, or `auto`: the full TensorRT where it is installed and
            can be loaded, TensorRT-RTX otherwise.

    Raises:
        UsageError: another target.
        BackendError: it is not installed, too old, its libraries cannot be loaded, or a file of
            the user's is in its place. The message says what to type.
    """
    for known in TARGETS:
        if target == known:
            return _load(known)
    if target != "auto":
        raise UsageError(
            f"unknown target {target!r}", fix=f"use {option('--target', 'auto', *TARGETS)}"
        )
    problems: list[BackendError] = []
    for candidate in TARGETS:
        try:
            return _load(candidate)
        except BackendError as exc:  # noqa: PERF203
            problems.append(exc)
    # What is installed and does not work is what the user wants to hear of.
    broken = [problem for problem in problems if not isinstance(problem, _MissingError)]
    if broken:
        raise broken[0]
    raise _MissingError("TensorRT", "auto")


def _load(target: Target) -> Runtime:
    name, module_names = _NAMES[target], _MODULES[target]
    for module_name in module_names:
        shadow = shadowing_path(module_name)
        # A folder without `__init__.py` hides nothing: an installed package would win.
        if shadow is not None and (shadow.is_file() or (shadow / "__init__.py").is_file()):
            raise BackendError(f"{shadow} hides the Python package {module_name}", fix="rename it")
    for module_name in module_names:
        trt = _import(module_name, target)
        if trt is not None:
            break
    else:
        raise _MissingError(name, target)
    version_text = str(getattr(trt, "__version__", ""))
    if not hasattr(trt, "Builder") or not hasattr(trt, "Runtime") or not version_text:
        where = getattr(trt, "__file__", None) or module_name
        raise BackendError(
            f"{where} is not {name}", fix=f"remove it, then {install_tensorrt(target)}"
        )
    version = parse_version(version_text)
    oldest = _OLDEST[target]
    if version[:2] < oldest:
        command = upgrade(target)
        raise BackendError(
            f"{name} {version_text} is too old: {oldest[0]}.{oldest[1]} or newer is needed",
            fix="update to JetPack 6.1 or newer" if is_jetson() else command,
        )
    return Runtime(trt, target, version, version_text)


def _import(module_name: str, target: Target) -> Any:
    """The module; None where it is not installed."""
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as exc:
        if exc.name == module_name:
            return None
        raise _unloadable(exc, target) from exc
    # FileNotFoundError is what the packages raise on Windows for a library, and RuntimeError what
    # its initialisation may end in.
    except (ImportError, OSError, RuntimeError, AttributeError) as exc:
        raise _unloadable(exc, target) from exc
    if getattr(module, "__file__", "") is None:
        # Some folder of that name, which Python takes for a package where there is no other.
        del sys.modules[module_name]
        return None
    return module


def _unloadable(exc: Exception, target: Target) -> BackendError:
    detail = first_line(exc)
    what = f"{_NAMES[target]} is installed and cannot be loaded ({detail})"
    none = no_tensorrt_here(target)
    if none or is_jetson():
        return BackendError(f"{what}: {none}" if none else what, fix=install_tensorrt(target))
    path = "PATH" if sys.platform == "win32" else "LD_LIBRARY_PATH"
    return BackendError(
        what, fix=f"{reinstall(target)}, or put the folder of its libraries on {path}"
    )


def parse_version(text: str) -> tuple[int, ...]:
    """A version of TensorRT as numbers: `"10.0.0b6"` to (10, 0, 0)."""
    numbers = []
    for part in text.split("."):
        match = re.match(r"\d+", part)
        if match is None:
            break
        numbers.append(int(match[0]))
        if match[0] != part:
            break
    return tuple(numbers)
