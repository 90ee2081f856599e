"""CUDA's error codes as lines that say what to do."""

from __future__ import annotations

from roadseg.core.errors import BackendError
from roadseg.core.wording import option

__all__ = [
    "MINIMUM_CUDA",
    "cuda_error",
    "driver_too_old",
    "no_driver",
    "no_such_gpu",
    "out_of_memory",
]

# The oldest CUDA that a driver must run: JetPack 6 has 12.6, TensorRT 10 needs 12.
MINIMUM_CUDA = (12, 0)

# Places in the text, for what only the one who reads it decides; see `roadseg.core.wording`.
_USE_CPU, _SIZE = "<CPU>", "<SIZE>"

_UPDATE = "update it from https://www.nvidia.com/drivers, or <CPU>"
_CRASHED = "start again, and if it happens once more report it; until then <CPU>"

_ADVICE = {
    "CUDA_ERROR_NO_DEVICE": (
        "no NVIDIA GPU is visible to this process",
        "look at 'nvidia-smi' and at CUDA_VISIBLE_DEVICES, or <CPU>",
    ),
    "CUDA_ERROR_DEVICE_UNAVAILABLE": (
        "the GPU is reserved by another program",
        "end that program ('nvidia-smi' lists it), or <CPU>",
    ),
    "CUDA_ERROR_CALL_REQUIRES_NEWER_DRIVER": ("the NVIDIA driver is too old", _UPDATE),
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": (
        "the NVIDIA driver is too old for the CUDA libraries on this GPU",
        _UPDATE,
    ),
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": (
        "the NVIDIA driver was updated while in use",
        "restart the machine, or <CPU>",
    ),
    "CUDA_ERROR_SYSTEM_NOT_READY": (
        "the GPU system is not ready",
        "start the NVIDIA fabric manager (systemctl start nvidia-fabricmanager), or <CPU>",
    ),
    "CUDA_ERROR_STUB_LIBRARY": (
        "the CUDA driver library is the toolkit's empty stand-in",
        "take the folder 'stubs' out of LD_LIBRARY_PATH",
    ),
    "CUDA_ERROR_UNSUPPORTED_PTX_VERSION": (
        "the NVIDIA driver is older than the compiler of the kernels",
        f"pip install a nvidia-cuda-nvrtc of the driver's CUDA version, {_UPDATE}",
    ),
    "CUDA_ERROR_NO_BINARY_FOR_GPU": (
        "no kernel that was compiled fits this GPU and its driver",
        "pip install a nvidia-cuda-nvrtc of the driver's CUDA version ('roadseg doctor' names it), "
        "or <CPU>",
    ),
    "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES": (
        "a kernel needs more than this GPU has",
        "report it with the GPU's name; until then <CPU>",
    ),
    "CUDA_ERROR_LAUNCH_TIMEOUT": (
        "a kernel ran so long that the desktop's watchdog stopped it",
        "use a smaller <SIZE>, or <CPU>",
    ),
    "CUDA_ERROR_ECC_UNCORRECTABLE": (
        "the GPU's memory is damaged",
        "restart the machine and look at 'nvidia-smi -q -d ECC', or <CPU>",
    ),
}
_CRASHES = (
    "CUDA_ERROR_ILLEGAL_ADDRESS",
    "CUDA_ERROR_LAUNCH_FAILED",
    "CUDA_ERROR_MISALIGNED_ADDRESS",
    "CUDA_ERROR_ILLEGAL_INSTRUCTION",
    "CUDA_ERROR_INVALID_PC",
    "CUDA_ERROR_HARDWARE_STACK_ERROR",
    "CUDA_ERROR_ASSERT",
)


def cuda_error(code: str, doing: str) -> BackendError:
    """The line for a failed call.

    Args:
        code: CUDA's name of the error: `CUDA_ERROR_NO_DEVICE`.
        doing: what failed, to follow "while": "copying a frame to the GPU".
    """
    if code in _ADVICE:
        what, advice = _ADVICE[code]
        return _error(f"{what} ({code}): {advice}")
    if "CAPTURE" in code:
        return _error(
            f"a CUDA graph cannot be captured while {doing} ({code}): report it; until then "
            f"{_USE_CPU}"
        )
    if code in _CRASHES:
        return _error(f"the GPU crashed while {doing} ({code}): {_CRASHED}")
    return _error(f"CUDA failed while {doing} ({code}): look at 'nvidia-smi', or {_USE_CPU}")


def out_of_memory(needed_bytes: int, free_bytes: int) -> BackendError:
    """The line for device memory that is not there."""
    return _error(
        f"GPU out of memory ({_size(needed_bytes)} needed, {_size(free_bytes)} free): use a "
        f"smaller {_SIZE} or batch, or close other programs"
    )


def no_driver() -> BackendError:
    """The line for a machine without libcuda."""
    return _error(
        "there is no NVIDIA driver (libcuda cannot be loaded): install it from "
        f"https://www.nvidia.com/drivers, or {_USE_CPU}"
    )


def driver_too_old(driver_cuda: tuple[int, int]) -> BackendError:
    """The line for a driver below `MINIMUM_CUDA`."""
    return _error(
        f"the NVIDIA driver is too old: it runs CUDA {_dotted(driver_cuda)} and CUDA "
        f"{_dotted(MINIMUM_CUDA)} is needed: {_UPDATE}"
    )


def no_such_gpu(index: int, count: int) -> BackendError:
    """The line for a GPU number that there is not."""
    known = "GPU 0" if count == 1 else f"GPUs 0 to {count - 1}"
    return _error(f"there is no GPU {index}: this process sees {known} ('nvidia-smi -L')")


def _error(text: str) -> BackendError:
    text = text.replace(_USE_CPU, f"use {option('--backend', 'openvino')}")
    return BackendError(text.replace(_SIZE, option("--size")))


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]}"


def _size(nbytes: int) -> str:
    if nbytes >= 10 * 2**30:
        return f"{nbytes / 2**30:.1f} GiB"
    # Rounded up: "0 MiB needed" would be a riddle.
    return f"{-(-nbytes // 2**20)} MiB"
