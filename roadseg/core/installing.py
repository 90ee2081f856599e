"""What to type where a package is missing: always the extra that brings all that belong together.

`pyproject.toml` explains each. `pip install 'roadseg[EXTRA]'` adds what is missing to a
roadseg that is installed, from a checkout or from a wheel.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from roadseg.core.errors import BackendError
from roadseg.core.wording import option

_NAMES = {
    "matplotlib": "Matplotlib",
    "onnx": "ONNX",
    "prometheus_client": "prometheus-client",
    "tensorboard": "TensorBoard",
    "torch": "PyTorch",
}

# The driver's library.
LIBCUDA = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"

_JETPACK = "sudo apt install python3-libnvinfer"


def install(extra: str = "") -> str:
    """The command that installs an extra; without one, what every run needs.

    >>> install("export")
    "pip install 'roadseg[export]'"
    """
    return f"pip install 'roadseg[{extra}]'" if extra else "pip install roadseg"


def reinstall(package: str) -> str:
    """The command for a package that is there and cannot be loaded."""
    return f"pip install --force-reinstall {package}"


def upgrade(what: str) -> str:
    """The command for one that is too old: a package, or an extra in quotes."""
    return f"pip install --upgrade {what}"


def is_installed(package: str) -> bool:
    """Whether there is a top-level package of that name; it is not loaded."""
    if package in sys.modules:
        return sys.modules[package] is not None
    return find_spec(package) is not None


def require(purpose: str, packages: tuple[str, ...], extra: str) -> None:
    """Make sure that packages are there, before anything that takes long.

    Args:
        purpose: what needs them, to begin a sentence with: `quantising`.
        packages: as Python calls them.
        extra: brings all of them.

    Raises:
        BackendError: one is missing.
    """
    missing = [_NAMES.get(name, name) for name in packages if not is_installed(name)]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        raise BackendError(
            f"{purpose} needs {names}, which {verb} not installed",
            fix=install(extra),
        )


def gpu_extra() -> str:
    """The extra with all that an NVIDIA GPU needs on this very machine.

    Without a driver that is TensorRT-RTX, which builds engines all the same, where there is one.
    """
    if is_jetson():
        return "jetson"
    cuda = driver_cuda()
    if cuda is None and _has_rtx():
        return "tensorrt-rtx"
    return "tensorrt-cu12" if cuda is not None and cuda[0] <= 12 else "tensorrt"


def cuda_extra() -> str:
    """The extra with the compiler of the kernels and CUDA for Python, for this driver."""
    extra = gpu_extra()
    return "tensorrt" if extra == "tensorrt-rtx" else extra


def install_tensorrt(target: str = "auto") -> str:
    """The one command that installs TensorRT on this machine, or what to use instead.

    Args:
        target: `tensorrt`, `tensorrt-rtx`, or `auto` for the one that suits the machine.
    """
    if sys.platform == "darwin":
        return f"use {option('--backend', 'openvino')}"
    extra = gpu_extra()
    if target == "tensorrt-rtx":
        if _has_rtx():
            return install("tensorrt-rtx")
        return f"use {option('--target', 'tensorrt')}"
    if extra == "jetson":
        return (
            f"{_JETPACK} && {install(extra)} (in a virtual environment made with "
            "--system-site-packages)"
        )
    if target == "tensorrt" and extra == "tensorrt-rtx":
        extra = "tensorrt"
    return install(extra)


def no_tensorrt_here(target: str = "auto") -> str:
    """Why there is no TensorRT to install on this machine; empty where there is one."""
    if sys.platform == "darwin":
        return "there is none for macOS"
    if target == "tensorrt-rtx" and not _has_rtx():
        return "there is none for this processor"
    return ""


def is_jetson() -> bool:
    """Whether this is a Jetson, whose JetPack brings TensorRT."""
    return Path("/etc/nv_tegra_release").is_file()


@cache
def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the NVIDIA driver runs: (12, 6); None without a driver."""
    try:
        library = ctypes.CDLL(LIBCUDA)
    except OSError:
        return None
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)):
        return None
    return version.value // 1000, version.value % 1000 // 10


def _has_rtx() -> bool:
    return sys.platform != "darwin" and platform.machine().lower() in ("x86_64", "amd64")
