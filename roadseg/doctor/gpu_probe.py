"""The NVIDIA GPUs and their driver, asked of the driver itself: no Python package is needed."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

from roadseg.core.installing import LIBCUDA

_LIBNVML = "nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1"

# CUdevice_attribute
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76


def look_at_gpus() -> dict[str, Any]:
    """Driver and GPUs.

    Returns:
        `library`: whether there is a driver; `error`: CUDA's name of why it does not work, or
        None; `driver`: its version, None where it does not say; `cuda`: the newest CUDA that it
        runs, [major, minor]; `gpus`: name, compute capability and bytes of memory of each.
    """
    facts: dict[str, Any] = {
        "library": True,
        "error": None,
        "driver": None,
        "cuda": None,
        "gpus": [],
    }
    try:
        library = ctypes.CDLL(LIBCUDA)
    except OSError:
        return facts | {"library": False}
    version = ctypes.c_int()
    if library.cuDriverGetVersion(ctypes.byref(version)) == 0:
        facts["cuda"] = [version.value // 1000, version.value % 1000 // 10]
    facts["driver"] = _driver_version()
    error = library.cuInit(0)
    if error:
        return facts | {"error": _error_name(library, error)}
    count = ctypes.c_int()
    library.cuDeviceGetCount(ctypes.byref(count))
    facts["gpus"] = [_gpu(library, index) for index in range(count.value)]
    return facts


def _gpu(library: ctypes.CDLL, index: int) -> dict[str, Any]:
    device, name, nbytes = ctypes.c_int(), ctypes.create_string_buffer(256), ctypes.c_size_t()
    major, minor = ctypes.c_int(), ctypes.c_int()
    library.cuDeviceGet(ctypes.byref(device), index)
    library.cuDeviceGetName(name, len(name), device)
    library.cuDeviceTotalMem_v2(ctypes.byref(nbytes), device)
    library.cuDeviceGetAttribute(ctypes.byref(major), _COMPUTE_MAJOR, device)
    library.cuDeviceGetAttribute(ctypes.byref(minor), _COMPUTE_MINOR, device)
    return {
        "name": name.value.decode("utf-8", "replace"),
        "compute_capability": [major.value, minor.value],
        "bytes": nbytes.value,
    }


def _error_name(library: ctypes.CDLL, error: int) -> str:
    name = ctypes.c_char_p()
    if library.cuGetErrorName(error, ctypes.byref(name)) == 0 and name.value:
        return name.value.decode("ascii", "replace")
    return f"error {error}"


def _driver_version() -> str | None:
    """As `nvidia-smi` prints it; a Jetson's driver has no version of its own."""
    try:
        library = ctypes.CDLL(_LIBNVML)
    except OSError:
        return None
    if library.nvmlInit_v2():
        return None
    text = ctypes.create_string_buffer(96)
    failed = library.nvmlSystemGetDriverVersion(text, len(text))
    library.nvmlShutdown()
    return None if failed else text.value.decode("ascii", "replace")
