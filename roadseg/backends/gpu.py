"""What the GPU of this machine can run, found out cheaply first: most machines have none."""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from roadseg.core.errors import BackendError, EngineError

if TYPE_CHECKING:
    from roadseg.cuda.api import Cuda


_DEVICES = (
    "/dev/nvidiactl",  # Linux, containers included
    "/dev/nvhost-ctrl-gpu",  # Jetson
    "/dev/nvgpu",  # Jetson, newer kernels
    "/usr/lib/wsl/lib/libcuda.so.1",  # WSL
)


def has_nvidia_driver() -> bool:
    """Whether an NVIDIA driver is running. Takes microseconds; no library is loaded.

    A machine without one need not look for TensorRT, nor load PyTorch to ask it about GPUs.
    """
    if sys.platform == "win32":
        system = Path(os.environ.get("SYSTEMROOT", r"C:\Windows")) / "System32"
        return (system / "nvcuda.dll").exists()
    return any(os.path.exists(device) for device in _DEVICES)


@cache
def shared_cuda() -> Cuda:
    """CUDA on the first GPU, one for all backends of the process; nobody closes it.

    Raises:
        BackendError: there is no GPU, no driver or no CUDA library for Python.
    """
    from roadseg.cuda.load import load_cuda

    return load_cuda()


def why_not_tensorrt() -> str | None:
    """Why the GPU cannot run TensorRT engines, with what to type; None if it can."""
    from roadseg.engine.runtime import load_runtime

    try:
        device = shared_cuda().device
        runtime = load_runtime("auto")
        if runtime.target == "tensorrt-rtx":
            from roadseg.backends.tensorrt.builder.compile import choose_sm

            choose_sm((), runtime, device)  # it does not run on data-centre GPUs and Jetsons
    except (BackendError, EngineError) as exc:
        return str(exc)
    return None
