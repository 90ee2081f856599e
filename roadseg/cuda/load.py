"""Which CUDA library is there: cuda-bindings, or pycuda."""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from importlib import metadata
from typing import Any

from roadseg.core.errors import BackendError
from roadseg.core.installing import LIBCUDA, driver_cuda, gpu_extra, install
from roadseg.core.shadowing import shadowing_path
from roadseg.cuda.api import Cuda
from roadseg.cuda.failure import no_driver


def load_cuda(index: int = 0) -> Cuda:
    """CUDA on one GPU: through cuda-bindings where it can be loaded, through pycuda otherwise.

    Args:
        index: the GPU's number, as in `nvidia-smi -L`, after CUDA_VISIBLE_DEVICES.

    Returns:
        The GPU's primary context, current on this thread.

    Raises:
        BackendError: neither library is there or can be loaded, a file of the user's hides it, or
            there is no NVIDIA driver or an old one, no GPU, or none of that number.
    """
    for package in ("pycuda", "cuda"):
        shadow = shadowing_path(package)
        if shadow is not None:
            raise BackendError(f"{shadow} hides the Python package {package}", fix="rename it")
    bindings, bindings_problem = _import("cuda.bindings.driver")
    if bindings is not None:
        from roadseg.cuda.bindings import BindingsCuda

        return BindingsCuda(bindings, _version("cuda-bindings"), index)
    pycuda, pycuda_problem = _import("pycuda.driver")
    if pycuda is not None:
        from roadseg.cuda.pycuda.context import PycudaCuda

        return PycudaCuda(pycuda, _version("pycuda"), index, set_current=_set_current_of_driver())
    # pycuda is linked to the driver's library, and so cannot even be imported without it.
    if pycuda_problem is not None and "libcuda" in str(pycuda_problem):
        raise no_driver() from pycuda_problem
    # Without a driver no package helps.
    if driver_cuda() is None:
        raise no_driver()
    problem = bindings_problem or pycuda_problem
    if problem is not None:
        raise BackendError(
            f"the CUDA library for Python cannot be loaded ({problem})", fix=install(gpu_extra())
        ) from problem
    raise BackendError("the CUDA library for Python is not installed", fix=install(gpu_extra()))


def _import(module: str) -> tuple[Any, ImportError | None]:
    """The module and None, None and why it cannot be loaded, or twice None where there is none."""
    try:
        return importlib.import_module(module), None
    except ModuleNotFoundError as exc:
        missing = exc.name is not None and (module == exc.name or module.startswith(f"{exc.name}."))
        return None, None if missing else exc
    except ImportError as exc:
        return None, exc


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "of unknown version"


def _set_current_of_driver() -> Callable[[int], int]:
    try:
        function = ctypes.CDLL(LIBCUDA).cuCtxSetCurrent
    except OSError as exc:
        raise no_driver() from exc
    function.argtypes = [ctypes.c_void_p]
    function.restype = ctypes.c_int
    return lambda handle: int(function(handle))
